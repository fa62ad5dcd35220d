import type { ActionPolicyDto } from '../action-policies/action-policy.dto.js';
import { POLICIES, type Routed, type RoutedTenant, startRouted } from '../testing/routed.js';
import { compileJsonPath } from './json-path.js';

let routed: Routed;
let tenant: RoutedTenant;
beforeAll(async () => {
  routed = await startRouted();
});
afterAll(() => routed.stop());
beforeEach(() => {
  tenant = routed.tenant();
});

const triggers = { dataMessage: { version: 1 } };
const post = (actions: object) => tenant.api.post<ActionPolicyDto>(POLICIES, { enabled: true, triggers, actions });
const accepts = async (actions: object): Promise<ActionPolicyDto> => {
  const { status, body } = await post(actions);
  expect({ actions, status, body }).toMatchObject({ status: 200 });
  return body;
};
const refuses = async (actions: object, field: string, expected = '', status = 400): Promise<void> =>
  expect(await post(actions)).toMatchObject({
    status,
    body: {
      code: status === 403 ? 'FORBIDDEN' : 'GENERIC_INVALID_PARAMETER_ERROR',
      details: expect.arrayContaining([
        { field: `actions.${field}`, expected: expect.stringContaining(expected) as string },
      ]) as object,
    },
  });

const PUSH = {
  webhookUrl: 'https://hooks.example.com/x',
  headers: { authorization: ['Bearer 1'] },
  retryOnFailure: true,
};
const HUB = {
  eventHubsNamespace: 'myEventHubsNamespace',
  eventHubName: 'myEventHubName',
  sharedAccessKeyName: 'mySharedAccessKeyName',
  sharedAccessKey: 'mySharedAccessKey',
  content: '{"temperature": {{temp}} }',
  jsonPath: 'value',
  retryOnFailure: false,
};
const EMAIL = { to: ['to@orange.com'], contentTemplate: 'x' };
const SMS = { destinationPhoneNumbers: ['+33601234567'], contentTemplate: 'x' };

describe('httpPush', () => {
  it('HPU-016 calls only the ports 443, 8443 and 9243, by https', async () => {
    for (const host of ['h.example.com', 'h.example.com:443', 'h.example.com:8443', 'h.example.com:9243'])
      await accepts({ httpPush: [{ webhookUrl: `https://${host}/x` }] });
    for (const url of ['http://h/x', 'http://h:8080/x', 'https://h:8444/x', 'https://h:80/', 'https://h:1/'])
      await refuses({ httpPush: [{ webhookUrl: url }] }, 'httpPush[0].webhookUrl', '443, 8443, 9243', 403);
    await refuses({ httpPush: [{ webhookUrl: 'http://h:8443/x' }] }, 'httpPush[0].webhookUrl', 'https');
  });

  it('refuses URLs that nobody outside may have called', async () => {
    for (const webhookUrl of [
      undefined,
      null,
      7,
      '',
      'h/x',
      'ftp://h/x',
      'https://user:password@h.example.com/',
      'https://[2001:db8::1]/x',
      'https://[::ffff:10.0.0.1]/x',
      'https://10.0.0.1/',
      'https://169.254.169.254/latest/meta-data',
      'https://0x0a.1/',
      'https://167772161/',
      `https://h.example.com/${'x'.repeat(3000)}`,
    ])
      await refuses({ httpPush: [{ ...PUSH, webhookUrl }] }, 'httpPush[0].webhookUrl');
  });

  it('refuses what could not be sent, and says where it is wrong', async () => {
    const bad = (more: object, field: string, expected = ''): Promise<void> =>
      refuses({ httpPush: [{ ...PUSH, ...more }] }, `httpPush[0].${field}`, expected);
    await bad({ headers: { 'x a': ['1'] } }, 'headers.x a', 'the name of a header');
    await bad({ headers: { host: ['h'] } }, 'headers.host');
    await bad({ headers: { a: ['1\r\nb: 2'] } }, 'headers.a');
    await bad({ headers: { a: '1' } }, 'headers.a', 'list');
    await bad({ headers: [] }, 'headers');
    await bad({ retryOnFailure: 'true' }, 'retryOnFailure', 'true or false');
    await bad({ content: 7 }, 'content', 'a Mustache template');
    await bad({ content: 'ab {{#x}} c' }, 'content', '(character 3)');
    await bad({ content: '{{> partial}}' }, 'content', 'partials');
    await bad({ content: 'x'.repeat(70_000) }, 'content', 'at most');
    await bad({ content: 'a\0b' }, 'content');
    for (const jsonPath of ['$[', '$..a..b', '$[?@.a]', '$["a","b"]', 7, '$.a'.repeat(400)])
      await bad({ jsonPath }, 'jsonPath', 'a JSONPath');
    await refuses({ httpPush: ['x'] }, 'httpPush[0]', 'an object');
    await refuses({ httpPush: {} }, 'httpPush', 'a list');
  });

  it('RTE-017 LIM-021 takes 10 actions of each type', async () => {
    const fifoPublish = Array.from({ length: 10 }, (_, i) => ({ fifoName: `f${i}` }));
    await accepts({ httpPush: Array.from({ length: 10 }, () => PUSH), fifoPublish });
    await refuses({ httpPush: Array.from({ length: 11 }, () => PUSH) }, 'httpPush', 'at most 10');
    await refuses({ fifoPublish: [...fifoPublish, { fifoName: 'f10' }] }, 'fifoPublish', 'at most 10');
    const limited = routed.tenant();
    for (let i = 0; i < 50; i++) await limited.route({ fifoPublish: [{ fifoName: 'f' }] });
    const answer = await limited.api.post(POLICIES, { enabled: true, triggers, actions: { httpPush: [PUSH] } });
    expect(answer).toMatchObject({ status: 403, body: { code: 'GENERIC_QUOTA_EXCEEDED_ERROR' } });
  });

  it('selects parts of a message in no more time than it takes to read it', () => {
    const message = { value: { a: [1, 2, { b: 'x' }], 'c d': null }, tags: ['t'] };
    for (const [path, expected] of [
      ['value.a[2].b', 'x'],
      ['$.value.a[-1].b', 'x'],
      ["$['value']['c d']", null],
      ["['tags']", ['t']],
      ['$', message],
      ['value.a[*].b', ['x']],
      ['$..b', ['x']],
      ['value.a[0:2]', [1, 2]],
      ['value.absent', undefined],
      ['value.toString', undefined],
      ['value.__proto__', undefined],
      ['$..absent', undefined],
    ] as const)
      expect([path, compileJsonPath(path)!(message)]).toEqual([path, expected]);
    let deep: object = { end: 1 };
    for (let i = 0; i < 90; i++) deep = { a: deep, b: [deep === undefined, i] };
    const began = process.cpuUsage();
    for (const path of ['$..*', '$.*.*.*.*.*', `$${'[*]'.repeat(100)}`, '$..end']) compileJsonPath(path)!(deep);
    expect(process.cpuUsage(began).user).toBeLessThan(1_000_000);
  });
});

describe('azureEventHubs', () => {
  it('AZU-001 needs all five of its fields', async () => {
    const created = await accepts({ azureEventHubs: [HUB] });
    const { sharedAccessKey: _hidden, ...shown } = HUB;
    expect(created.actions).toEqual({ azureEventHubs: [shown] });
    for (const name of [
      'eventHubsNamespace',
      'eventHubName',
      'sharedAccessKeyName',
      'sharedAccessKey',
      'retryOnFailure',
    ])
      await refuses({ azureEventHubs: [{ ...HUB, [name]: undefined }] }, `azureEventHubs[0].${name}`);
  });

  it('calls namespaces of Azure only', async () => {
    for (const eventHubsNamespace of [
      'a',
      'x.example.com',
      'evil.com/namespace',
      'evil.com#namespace',
      'localhost:1',
      'abcdef@evil',
    ])
      await refuses({ azureEventHubs: [{ ...HUB, eventHubsNamespace }] }, 'azureEventHubs[0].eventHubsNamespace');
    for (const eventHubName of ['../x', 'a/b', 'a?b', ''])
      await refuses({ azureEventHubs: [{ ...HUB, eventHubName }] }, 'azureEventHubs[0].eventHubName');
  });

  it('keeps the key of a policy that is sent back, for the same Event Hub alone', async () => {
    const { id, ...policy } = await accepts({ azureEventHubs: [HUB] });
    const put = (action: object) =>
      tenant.api.put<ActionPolicyDto>(`${POLICIES}/${id}`, { ...policy, actions: { azureEventHubs: [action] } });
    const { sharedAccessKey: _hidden, ...shown } = HUB;
    expect(await put({ ...shown, retryOnFailure: true })).toMatchObject({ status: 200 });
    for (const change of [{ eventHubsNamespace: 'another' }, { eventHubName: 'other' }, { sharedAccessKeyName: 'o' }])
      expect(await put({ ...shown, ...change })).toMatchObject({
        status: 400,
        body: { details: [{ field: 'actions.azureEventHubs[0].sharedAccessKey' }] },
      });
  });
});

describe('notifications', () => {
  it('NTF-002 checks addresses, and needs no subject', async () => {
    await accepts({ emails: [EMAIL] });
    await accepts({ emails: [{ ...EMAIL, cc: [], cci: ['a@b.io'], subjectTemplate: '{{x}}' }] });
    for (const field of ['to', 'cc', 'cci'])
      for (const address of ['not-an-address', 'a@x.io\r\nBcc: b@x.io', 'A <a@x.io>', 7, null])
        await refuses({ emails: [{ ...EMAIL, [field]: [address] }] }, `emails[0].${field}[0]`, 'an e-mail address');
    await refuses({ emails: [{ contentTemplate: 'x' }] }, 'emails[0].to', 'required');
    await refuses({ emails: [{ ...EMAIL, to: [] }] }, 'emails[0].to', 'at least one');
    await refuses({ emails: [{ ...EMAIL, cc: 'a@b.io' }] }, 'emails[0].cc', 'a list');
    await refuses({ emails: [{ ...EMAIL, cc: Array(50).fill('a@b.io') }] }, 'emails[0]', 'at most 50');
    await refuses({ emails: [{ to: EMAIL.to }] }, 'emails[0].contentTemplate', 'required');
    await refuses({ emails: [{ ...EMAIL, subjectTemplate: '{{#a}}' }] }, 'emails[0].subjectTemplate', 'character 0');
  });

  it('checks phone numbers', async () => {
    await accepts({ sms: [SMS, { ...SMS, destinationPhoneNumbers: ['33601234567'] }] });
    for (const number of ['0601234567', '+12345', '+1234567890123456', '+33 6', 'x', 33601234567, ''])
      await refuses({ sms: [{ ...SMS, destinationPhoneNumbers: [number] }] }, 'sms[0].destinationPhoneNumbers[0]');
    await refuses({ sms: [{ ...SMS, destinationPhoneNumbers: [] }] }, 'sms[0].destinationPhoneNumbers');
    await refuses({ sms: [{ destinationPhoneNumbers: ['+33601234567'] }] }, 'sms[0].contentTemplate');
  });
});

describe('what is stored', () => {
  it('is returned as it was given, in the order of a list, and changed', async () => {
    const actions = {
      emails: [],
      sms: [SMS],
      httpPush: [PUSH, { ...PUSH, webhookUrl: 'https://other.example.com/' }, PUSH],
      fifoPublish: [{ fifoName: 'f' }],
    };
    const { id, ...created } = await accepts(actions);
    expect(created.actions).toEqual(actions);
    const reversed = { ...created, actions: { httpPush: actions.httpPush.slice(0, 2).toReversed() } };
    expect((await tenant.api.put<ActionPolicyDto>(`${POLICIES}/${id}`, reversed)).body.actions).toEqual(
      reversed.actions,
    );
    expect((await tenant.api.get<ActionPolicyDto[]>(POLICIES)).body).toEqual([{ id, ...reversed }]);
    expect((await tenant.api.delete(`${POLICIES}/${id}`)).status).toBe(204);
    const rows = await routed.backend.query('SELECT 1 FROM routing.delivered_actions WHERE policy_id = $1', [id]);
    expect(rows).toEqual([]);
  });

  it('holds no credentials that can be read', async () => {
    const headers = { authorization: ['Bearer very-secret'] };
    await accepts({ httpPush: [{ ...PUSH, headers }], azureEventHubs: [{ ...HUB, sharedAccessKey: 'very-secret' }] });
    const tables = await routed.backend.query<{ name: string }>(
      `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'routing'`,
    );
    for (const { name } of tables)
      expect(await routed.backend.query(`SELECT 1 FROM routing.${name} t WHERE t::text LIKE '%very-secret%'`)).toEqual(
        [],
      );
  });
});
