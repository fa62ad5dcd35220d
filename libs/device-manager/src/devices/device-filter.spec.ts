import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { type ApiClient, apiClient, type Backend, keyRing, startBackend } from '@orrery/core/testing';
import { deviceManager } from '../index.js';
import type { DeviceView } from './device.dto.js';

const DEVICES = '/api/v1/deviceMgt/devices';
const PREFIX = 'urn:lo:nsid:f:';

let backend: Backend;
let api: ApiClient;

/** Ends of the ids of the devices that a filterQuery selects, in their order. */
async function select(filterQuery: string, more = ''): Promise<string[]> {
  const query = `fields=id&limit=100${more}&filterQuery=${encodeURIComponent(filterQuery)}`;
  const { status, body } = await api.get<DeviceView[]>(`${DEVICES}?${query}`);
  expect([filterQuery, status, body]).toEqual([filterQuery, 200, expect.any(Array)]);
  return body.map((device) => device.id.slice(PREFIX.length));
}

/** What a filterQuery is refused with. */
async function refusal(filterQuery: string): Promise<string> {
  const { status, body } = await api.get<{ code: string; details: Array<{ field: string; expected: string }> }>(
    `${DEVICES}?filterQuery=${encodeURIComponent(filterQuery)}`,
  );
  expect([filterQuery.slice(0, 80), status, body.code]).toEqual([
    filterQuery.slice(0, 80),
    400,
    'GENERIC_INVALID_PARAMETER_ERROR',
  ]);
  expect(body.details[0]!.field).toBe('filterQuery');
  return body.details[0]!.expected;
}

beforeAll(async () => {
  backend = await startBackend([deviceManager]);
  const keys = keyRing(await backend.bus());
  const { url } = await backend.boot([deviceManager]);
  api = apiClient(url, keys.grant('tenantA', { limits: UNLIMITED_OFFER }).value);
  const other = apiClient(url, keys.grant('tenantB', { limits: UNLIMITED_OFFER }).value);
  for (const [client, pathNodes] of [
    [api, ['foo', 'France', "O'Hara \\ Ünïcode"]],
    [other, ['foo']],
  ] as const)
    for (const pathNode of pathNodes) await client.post('/api/v1/deviceMgt/groups', { pathNode });
  const { body } = await api.get<Array<{ id: string; path: string }>>('/api/v1/deviceMgt/groups?groupPath=/foo');
  await api.post('/api/v1/deviceMgt/groups', { pathNode: 'bar', parentId: body[0]!.id });
  const xConnector = { connector: 'x-connector', definition: { nodeId: 'n3' } };
  const lwm2m = { connector: 'lwm2m', definition: { endpointName: 'n7', bootstrap: { managed: true } } };
  const mqtt = (clientId: string): unknown => ({ connector: 'mqtt', definition: { clientId } });
  const devices: Array<Record<string, unknown>> = [
    { id: '1', tags: ['a', 'b'], properties: { level: '9' }, group: { path: '/foo' }, interfaces: [mqtt('n1')] },
    { id: '2', tags: ['a'], properties: { level: '10' }, group: { path: '/foo/bar' }, interfaces: [mqtt('n2')] },
    { id: '3', tags: ['b', 'c', 'x'], properties: { level: '11' }, interfaces: [xConnector] },
    { id: '4', properties: { level: 'high', 'with.dot': '1', __proto__x: 'p' } },
    { id: '5', tags: ["Aujourd'hui", 'deux mots', 'été*'], group: { path: "/O'Hara \\ Ünïcode" } },
    { id: '6', tags: ['demo'], group: { path: '/France' }, interfaces: [mqtt('n6')] },
    { id: '7', tags: ['demo'], group: { path: '/France' }, interfaces: [lwm2m] },
  ];
  for (const device of devices)
    expect((await api.post(DEVICES, { ...device, id: `${PREFIX}${String(device['id'])}` })).status).toBe(200);
  const theirs = { ...devices[0], id: `${PREFIX}1` };
  expect((await other.post(DEVICES, theirs)).status).toBe(200);
});
afterAll(() => backend.stop());

describe('filterQuery', () => {
  it('DEV-033 compares tags, properties, groups and connectors', async () => {
    expect(await select('connector==mqtt')).toEqual(['1', '2', '6']);
    expect(await select('connector!=mqtt')).toEqual(['3', '4', '5', '7']);
    expect(await select('connector=in=(lora,mqtt)')).toEqual(['1', '2', '6']);
    expect(await select('connector=out=(lora,sms)')).toEqual(['1', '2', '3', '4', '5', '6', '7']);
    expect(await select('connector=out=(lora,mqtt)')).toEqual(['3', '4', '5', '7']);
    expect(await select('tags==a')).toEqual(['1', '2']);
    expect(await select('tags!=a')).toEqual(['3', '4', '5', '6', '7']);
    expect(await select('tags=in=(a,b)')).toEqual(['1']);
    expect(await select('tags=out=(a,c)')).toEqual(['4', '5', '6', '7']);
    expect(await select('groupPath==/foo')).toEqual(['1']);
    expect(await select('groupPath!=/foo')).toEqual(['2', '3', '4', '5', '6', '7']);
    expect(await select('groupPath=in=(/foo, /France)')).toEqual(['1', '6', '7']);
    expect(await select('groupPath==/')).toEqual(['3', '4']);
    expect(await select('groupId==root')).toEqual(['3', '4']);
    expect(await select('groupId=out=(root)')).toEqual(['1', '2', '5', '6', '7']);
    expect(await select('properties.level==9')).toEqual(['1']);
    expect(await select('properties.level=in=(9, high)')).toEqual(['1', '4']);
    // A device without the property has no value that could differ.
    expect(await select('properties.level!=9')).toEqual(['2', '3', '4']);
    expect(await select('properties.level=out=(9, 10)')).toEqual(['3', '4']);
    expect(await select('properties.with.dot==1')).toEqual(['4']);
    expect(await select('properties.__proto__==1')).toEqual([]);
  });

  it('DEV-034 compares by number where both sides are numbers, and by text elsewhere', async () => {
    // `high` is no number: it comes after every digit.
    expect(await select('properties.level=gt=9;properties.level!=high')).toEqual(['2', '3']);
    expect(await select('properties.level=le=10')).toEqual(['1', '2']);
    expect(await select('properties.level<10')).toEqual(['1']);
    expect(await select('properties.level<=10')).toEqual(['1', '2']);
    expect(await select('properties.level=ge=10;properties.level!=high')).toEqual(['2', '3']);
    expect(await select('properties.level>1.05e1;properties.level!=high')).toEqual(['3']);
    expect(await select('properties.level=lt=9x')).toEqual(['1', '2', '3']);
    expect(await select('properties.level=gt=a')).toEqual(['4']);
    expect(await select('groupPath=gt=/foo')).toEqual(['2']);
    expect(await select('tags>=d')).toEqual(['3', '5', '6', '7']);
    expect(await select('connector<n')).toEqual(['1', '2', '6', '7']);
    for (const huge of ['1e9999', '9'.repeat(300), '-.5e-999']) await select(`properties.level=lt=${huge}`);
  });

  it('DEV-035 lets and bind tighter than or', async () => {
    const sample = 'groupPath==/France;tags==demo;connector==lwm2m or (connector==x-connector)';
    expect(await select(sample)).toEqual(['3', '7']);
    const prose = 'groupPath==/France;tags==demo;(connector==lwm2m or connector==x-connector)';
    expect(await select(prose)).toEqual(['7']);
    expect(await select('tags==c,tags==a;tags==b')).toEqual(['1', '3']);
    expect(await select('(tags==c,tags==a) and tags==b')).toEqual(['1', '3']);
    expect(await select('(tags==a or tags==demo) and groupPath==/foo')).toEqual(['1']);
  });

  it('DEV-036 is decoded as a URL is, together with the other filters', async () => {
    const path =
      'fields=id&filterQuery=groupPath%3d%3d/France%3btags%3d%3ddemo%3bconnector%3d%3dlwm2m+or+(connector%3d%3dx-connector)';
    const { status, body } = await api.get(`${DEVICES}?${path}`);
    expect([status, body]).toEqual([200, ['3', '7'].map((id) => ({ id: `${PREFIX}${id}` }))]);
    expect((await api.get(`${DEVICES}?fields=id&filterQuery=tags==a%20or%20tags==demo`)).body).toHaveLength(4);
    expect(await select('tags==a', '&property.level=10&connectors=mqtt')).toEqual(['2']);
    const counted = await api.get(`${DEVICES}?limit=1&filterQuery=tags==a&sort=-name`, { 'x-total-count': 'true' });
    expect([counted.headers.get('x-result-count'), counted.headers.get('x-total-count')]).toEqual(['1', '2']);
  });

  it('takes values with quotes, spaces and wildcards as they are', async () => {
    expect(await select("tags=='Aujourd\\'hui'")).toEqual(['5']);
    expect(await select('tags=="Aujourd\'hui"')).toEqual(['5']);
    expect(await select("tags=='deux mots'")).toEqual(['5']);
    expect(await select('tags==été*')).toEqual(['5']);
    expect(await select('tags==ét*')).toEqual([]);
    expect(await select('tags==%')).toEqual([]);
    expect(await select(`groupPath=="/O'Hara \\\\ Ünïcode"`)).toEqual(['5']);
    const injections = ["a'' OR 1=1 --", "'); DROP TABLE devices; --", ':rsql_0', '$1', '{a,b}', '\\'];
    for (const text of injections) {
      const quoted = `"${text.replaceAll('\\', '\\\\')}"`;
      for (const field of ['tags', 'groupPath', 'groupId', 'connector', 'properties.level'])
        expect(await select(`${field}==${quoted} or ${field}=in=(${quoted},${quoted})`)).toEqual([]);
    }
    for (const key of ["x'", '$1', ':rsql_0', "x'||pg_sleep(9)||'", '{', '\\'])
      await api
        .get(`${DEVICES}?filterQuery=${encodeURIComponent(`properties.${key}==1`)}`)
        .then(({ status }) => expect([key, status]).toEqual([key, /['(]/.test(key) ? 400 : 200]));
  });

  it('DEV-037 says where an expression is wrong', async () => {
    expect(await refusal('tags==')).toBe('an RSQL expression: Unexpected end.');
    expect(await refusal('tags~x')).toBe("an RSQL expression: Unexpected character '~' at position 5.");
    expect(await refusal('name==x')).toBe(
      'fields among tags, groupId, groupPath, connector, properties.<key>, not name',
    );
    for (const field of ['properties', 'properties.', 'constructor', '__proto__', 'Tags', 'd.id', 'config.x'])
      expect(await refusal(`${field}==x`)).toContain('fields among tags');
    expect(await refusal('tags=like=x')).toContain('after tags, not =like=');
    expect(await refusal("properties=q='k==a'")).toContain('fields among tags');
    expect(await refusal('tags==(a,b)')).toBe('one value after tags==');
    expect(await refusal('tags=in=a')).toBe('values in parentheses after tags=in=');
    for (const malformed of [
      '',
      ' ',
      'tags',
      '==',
      'tags=in=(',
      'tags=in=()',
      '(tags==a',
      'tags==a)',
      'tags==a;;tags==b',
    ])
      await refusal(malformed);
    for (const malformed of ["tags=='a", 'tags==a and', 'tags==a tags==b', 'tags==a AND tags==b', 'tags==a\0'])
      await refusal(malformed);
  });

  it('refuses what is too long or too deep, and takes what fits', async () => {
    expect(await refusal('('.repeat(5000) + 'tags==a' + ')'.repeat(5000))).toContain('1 to 512 characters');
    expect(await refusal(`tags==${'x'.repeat(507)}`)).toContain('1 to 512 characters');
    expect(await refusal('('.repeat(512))).toContain('an RSQL expression: Unexpected end');
    expect(await select(`tags==${'x'.repeat(506)}`)).toEqual([]);
    expect(await select(`${'('.repeat(252)}tags==a${')'.repeat(252)}`)).toEqual(['1', '2']);
    expect(await select(Array.from({ length: 60 }, () => 'tags==a').join(';'))).toEqual(['1', '2']);
    const many = Array.from({ length: 240 }, () => 'a').join(',');
    expect(await select(`tags=out=(${many})`)).toEqual(['3', '4', '5', '6', '7']);
  });
});
