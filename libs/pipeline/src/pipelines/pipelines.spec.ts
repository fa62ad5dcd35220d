import { Ingestion } from '@orrery/core/ingestion';
import { buildMessage } from '@orrery/core/messages';
import { apiClient, eventually } from '@orrery/core/testing';
import { PATH, type Surroundings, startSurroundings, type Tenant } from '../testing/surroundings.js';
import type { PipelineDto } from './pipeline.dto.js';

let surroundings: Surroundings;
let tenant: Tenant;

const STEP = { type: 'externalTransformation', url: 'https://transformer.example.com/enrich' };
const pipeline = (changes: object = {}): object => ({
  name: 'test',
  priorityLevel: 1,
  enabled: false,
  steps: [STEP],
  ...changes,
});
async function refuses(changes: object, field: string): Promise<void> {
  const answer = await tenant.api.post(PATH, pipeline(changes));
  expect(answer).toMatchObject({
    status: 400,
    body: {
      code: 'GENERIC_INVALID_PARAMETER_ERROR',
      details: expect.arrayContaining([{ field, expected: expect.any(String) }]),
    },
  });
}
const created = async (changes: object = {}): Promise<PipelineDto> => {
  const { status, body } = await tenant.api.post<PipelineDto>(PATH, pipeline(changes));
  expect({ status, body }).toMatchObject({ status: 201 });
  return body;
};

beforeAll(async () => {
  surroundings = await startSurroundings();
});
afterAll(() => surroundings.stop());
beforeEach(() => {
  tenant = surroundings.tenant();
});

describe('pipelines', () => {
  it('PIP-001 are created, read, changed and deleted, and refused when they are not valid', async () => {
    // The example of 11.4.2.
    const example = {
      name: 'base64 decoding',
      description: 'pipeline to decode base64 encoded message with external transformation',
      priorityLevel: 10,
      enabled: true,
      filter: {
        connectors: ['mqtt'],
        encodings: ['base64'],
        groupPaths: [{ path: '/europe', includeSubPath: true }],
        tags: [['PROD']],
      },
      steps: [{ type: 'externalTransformation', url: 'http://lo-data-transformation.appspot.com:80/base64_decode' }],
    };
    const { id, ...rest } = await created(example);
    expect(id).toMatch(/^[0-9a-f]{8}-/);
    expect(rest).toEqual({ ...example, created: expect.any(String) });
    const { api } = tenant;
    expect(await api.get(`${PATH}/${id}`)).toMatchObject({ status: 200, body: { id, ...rest } });

    for (const field of ['name', 'priorityLevel', 'enabled', 'steps'])
      for (const value of [undefined, null]) await refuses({ [field]: value }, field);
    await refuses({ name: 'x'.repeat(1001) }, 'name');
    await refuses({ name: ' ' }, 'name');
    await refuses({ description: 'x'.repeat(2001) }, 'description');
    for (const priorityLevel of ['1', 1.5, 1e30]) await refuses({ priorityLevel }, 'priorityLevel');
    await refuses({ enabled: 'true' }, 'enabled');
    for (const body of ['[]', '7', 'null']) expect(await api.post(PATH, body)).toMatchObject({ status: 400 });
    expect((await api.get<unknown[]>(PATH)).body).toHaveLength(1);
    const longest = await created({ name: 'é'.repeat(1000), description: 'x'.repeat(2000), priorityLevel: -5 });

    const changed = { ...example, description: null, filter: null, enabled: false };
    const { description: _, filter: __, ...expected } = changed;
    const put = await api.put(`${PATH}/${id}`, { ...changed, id });
    expect(put).toEqual(expect.objectContaining({ status: 200, body: { ...expected, id, created: rest.created } }));
    expect((await api.put(`${PATH}/${id}`, { ...changed, id: longest.id })).status).toBe(400);
    expect((await api.put(`${PATH}/${id}`, { ...changed, name: '' })).status).toBe(400);
    expect((await api.delete(`${PATH}/${id}`)).status).toBe(204);
    for (const path of [`${PATH}/${id}`, `${PATH}/x`, `${PATH}/%00`]) {
      expect((await api.get(path)).status).toBe(404);
      expect((await api.put(path, pipeline())).status).toBe(404);
      expect((await api.delete(path)).status).toBe(404);
    }
  });

  it('are listed in the order in which they are tried', async () => {
    const a = await created({ priorityLevel: 10 });
    const b = await created({ priorityLevel: 5 });
    const c = await created({ priorityLevel: 5 });
    const { body } = await tenant.api.get<PipelineDto[]>(PATH);
    expect(body.map(({ id }) => id)).toEqual([b.id, c.id, a.id]);
    expect((await surroundings.tenant().api.get(PATH)).body).toEqual([]);
  });

  it('need the roles of data processing', async () => {
    const { id } = await created();
    const { keys, platform } = surroundings;
    const reader = apiClient(platform.url, keys.grant(tenant.id, { roles: ['DATA_PROCESSING_R'] }).value);
    expect((await reader.get(`${PATH}/${id}`)).status).toBe(200);
    expect((await reader.delete(`${PATH}/${id}`)).status).toBe(403);
    expect((await reader.put(`${PATH}/${id}`, pipeline())).status).toBe(403);
    expect((await reader.post(PATH, pipeline())).status).toBe(403);
    const other = apiClient(platform.url, keys.grant(tenant.id, { roles: ['DATA_R', 'DEVICE_W'] }).value);
    expect((await other.get(PATH)).status).toBe(403);
    expect((await other.get(`${PATH}/${id}`)).status).toBe(403);
  });

  it('PIP-022 LIM-055 are at most ten by default, also when many are created at once', async () => {
    tenant = surroundings.tenant({ limits: {} });
    const statuses = await Promise.all(
      Array.from({ length: 14 }, async () => (await tenant.api.post(PATH, pipeline())).status),
    );
    expect(statuses.toSorted()).toEqual([...Array<number>(10).fill(201), ...Array<number>(4).fill(403)]);
    expect(await tenant.api.post(PATH, pipeline())).toMatchObject({
      status: 403,
      body: { code: 'GENERIC_QUOTA_EXCEEDED_ERROR' },
    });
    const larger = surroundings.tenant({ limits: { pipelines: 11 } });
    for (let i = 0; i < 11; i++) expect((await larger.api.post(PATH, pipeline())).status).toBe(201);
    expect((await larger.api.post(PATH, pipeline())).status).toBe(403);
  });

  it('filter by what is known', async () => {
    for (const connector of ['http', 'lora', 'mqtt', 'sms', 'x-connector', 'lwm2m', 'sigfox', 'sensoro'])
      await tenant.api.delete(`${PATH}/${(await created({ filter: { connectors: [connector] } })).id}`);
    await refuses({ filter: { connectors: ['ftp'] } }, 'filter.connectors[0]');
    await refuses({ filter: { connectors: 'mqtt' } }, 'filter.connectors');
    await refuses({ filter: { encodings: [''] } }, 'filter.encodings[0]');
    await refuses({ filter: { tags: ['PROD'] } }, 'filter.tags[0]');
    await refuses({ filter: { tags: [[]] } }, 'filter.tags[0]');
    await refuses({ filter: { tags: [['a\0']] } }, 'filter.tags[0]');
    await refuses({ filter: { groupPaths: [{ path: 'europe' }] } }, 'filter.groupPaths[0]');
    await refuses({ filter: { groupPaths: [{ path: '/', includeSubPath: 'no' }] } }, 'filter.groupPaths[0]');
    await refuses({ filter: { devices: [] } }, 'filter.devices');
    await refuses({ filter: { tags: Array.from({ length: 101 }, () => ['x']) } }, 'filter.tags');
    for (const filter of ['x', [], 7]) await refuses({ filter }, 'filter');
  });

  it('have steps of the one type', async () => {
    for (const steps of [[], {}, 'x', Array.from({ length: 11 }, () => STEP)]) await refuses({ steps }, 'steps');
    for (const step of [null, 'x', {}, { ...STEP, type: 'other' }]) await refuses({ steps: [step] }, 'steps[0].type');
    await refuses({ steps: [STEP, { ...STEP, name: 'x'.repeat(1001) }] }, 'steps[1].name');
    await refuses({ steps: [{ ...STEP, headers: ['x: y'] }] }, 'steps[0].headers');
    await refuses({ steps: [{ ...STEP, headers: { host: ['x'] } }] }, 'steps[0].headers.host');
    await refuses({ steps: [{ ...STEP, headers: { 'x-a': ['1\r\nx-b: 2'] } }] }, 'steps[0].headers.x-a');
  });

  it('PIP-012 call the ports 80, 443, 8080, 8443 and 9243 alone, and no private address', async () => {
    for (const url of [
      'http://h:80',
      'https://h:443',
      'http://h:8080',
      'https://h:8443',
      'https://h:9243',
      'http://h/x?y',
    ])
      expect((await created({ steps: [{ ...STEP, url }] })).steps).toEqual([{ ...STEP, url }]);
    for (const url of ['http://h:8081', 'https://h:22', 'https://h:0', 'ftp://h', 'h', undefined, 7, 'http://[::1]/'])
      await refuses({ steps: [{ ...STEP, url }] }, 'steps[0].url');
    for (const host of ['10.0.0.1', '169.254.169.254', '0xa9fea9fe', '192.168.1.1'])
      await refuses({ steps: [{ ...STEP, url: `http://${host}/` }] }, 'steps[0].url');
  });

  it('keep headers encrypted, and return them as they were given', async () => {
    const headers = { Authorization: ['Basic c2VjcmV0'], 'x-transform-header': ['account-1234', 'b'] };
    const { id, steps } = await created({ steps: [STEP, { ...STEP, headers }] });
    expect(steps).toEqual([STEP, { ...STEP, headers }]);
    expect((await tenant.api.get<PipelineDto>(`${PATH}/${id}`)).body.steps).toEqual([STEP, { ...STEP, headers }]);
    const rows = await surroundings.backend.query('SELECT * FROM pipeline.pipelines WHERE id = $1', [id]);
    expect(rows).toHaveLength(1);
    expect(JSON.stringify(rows)).not.toContain('c2VjcmV0');
  });

  it('tell connectors which messages visit them, from their creation to their end', async () => {
    const ingestion = new Ingestion(surroundings.bus);
    await ingestion.start();
    const subjects: string[] = [];
    const seen = surroundings.bus.connection.subscribe('*.*', {
      callback: (_, { subject }) => void subjects.push(subject.split('.')[0]!),
    });
    const visits = async (tags: string[]): Promise<boolean> => {
      const before = subjects.length;
      const { header, message } = buildMessage(
        { streamId: 's', tags, metadata: {} },
        { tenantId: tenant.id, connector: 'http' },
      );
      await ingestion.publish(header, message);
      await eventually(() => subjects.slice(before).some((subject) => /^(ready|transform)$/.test(subject)));
      return subjects.slice(before).includes('transform');
    };
    expect(await visits(['a'])).toBe(false);
    const { id } = await created({ enabled: true, filter: { tags: [['a']] } });
    await eventually(() => visits(['a']));
    expect(await visits(['b'])).toBe(false);
    await tenant.api.put(`${PATH}/${id}`, pipeline({ enabled: false }));
    await eventually(async () => !(await visits(['a'])));
    await tenant.api.put(`${PATH}/${id}`, pipeline({ enabled: true }));
    await eventually(() => visits(['b']));
    await tenant.api.delete(`${PATH}/${id}`);
    await eventually(async () => !(await visits(['b'])));
    seen.unsubscribe();
    await ingestion.close();
  });
});
