import { Audit, type StoredAuditEntry } from '@orrery/core/audit';
import { ROLES } from '@orrery/core/auth';
import { AUDIT_SUBJECT, type Bus } from '@orrery/core/bus';
import { Database } from '@orrery/core/database';
import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { newMessageId } from '@orrery/core/messages';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import { auditLog } from '../index.js';
import type { AuditMessage } from './message.dto.js';
import { deleteExpired } from './retention.js';

const PATH = '/api/v0/auditlog/messages';
const DAY = 24 * 3_600_000;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

let backend: Backend;
let platform: TestPlatform;
let bus: Bus;
let keys: KeyRing;
beforeAll(async () => {
  backend = await startBackend([auditLog], { ORRERY_AUDIT_PER_MINUTE: '1000000' });
  platform = await backend.boot([auditLog]);
  bus = await backend.bus();
  keys = keyRing(bus);
});
afterAll(() => backend.stop());

const reader = (tenantId: string, url = platform.url): ApiClient =>
  apiClient(url, keys.grant(tenantId, { roles: ['LOGS_R'], limits: UNLIMITED_OFFER }).value);

async function search(api: ApiClient, query = ''): Promise<AuditMessage[]> {
  const { status, body } = await api.get<AuditMessage[]>(`${PATH}?${query}`);
  expect(status).toBe(200);
  return body;
}

const descriptions = async (api: ApiClient, query = ''): Promise<string[]> =>
  (await search(api, query)).map(({ description }) => description);

/** Puts an entry on the bus, as any service does. */
async function report(tenantId: string, entry: Partial<StoredAuditEntry>): Promise<void> {
  await bus.js.publish(
    AUDIT_SUBJECT,
    JSON.stringify({
      tenantId,
      id: newMessageId(),
      timestamp: new Date().toISOString(),
      level: 'error',
      category: 'connectivity',
      subcategory: 'mqtt',
      type: 'bad_topic',
      description: 'a topic that is not allowed',
      ...entry,
    }),
  );
}

describe('GET /api/v0/auditlog/messages', () => {
  it('AUD-001 AUD-003 returns what a service reported, complete and dated', async () => {
    const api = reader('t-one');
    expect(await search(api)).toEqual([]);
    new Audit(bus).write({
      tenantId: 't-one',
      level: 'error',
      category: 'connectivity',
      subcategory: 'mqtt',
      type: 'bad_topic',
      description: 'foo/bar is no topic of this mode',
      source: { deviceId: 'urn:lo:nsid:x:D', connector: 'mqtt' },
      content: { qos: 1 },
    });
    const [message] = await eventually(async () => {
      const found = await search(api);
      return found.length > 0 && found;
    });
    expect(message).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{24}$/),
      timestamp: expect.stringMatching(ISO),
      created: expect.stringMatching(ISO),
      level: 'error',
      category: 'connectivity',
      subcategory: 'mqtt',
      type: 'bad_topic',
      description: 'foo/bar is no topic of this mode',
      source: { deviceId: 'urn:lo:nsid:x:D', connector: 'mqtt' },
      content: { qos: 1 },
    });
  });

  it('AUD-002 needs LOGS_R', async () => {
    const all = keys.grant('t-two', { roles: ROLES.filter((role) => role !== 'LOGS_R') });
    const refused = await apiClient(platform.url, all.value).get<{ code: string }>(PATH);
    expect([refused.status, refused.body.code]).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);
    expect((await reader('t-two').get(PATH)).status).toBe(200);
  });

  it('AUD-004 sorts by time, newest first, and bounds what is read', async () => {
    const api = reader('t-many');
    const start = Date.now() - 200_000;
    const times = Array.from({ length: 150 }, (_, i) => new Date(start + i * 1000).toISOString());
    // Not in the order of arrival.
    for (const timestamp of [...times.slice(75), ...times.slice(0, 75)]) await report('t-many', { timestamp });
    const all = await eventually(async () => {
      const found = await search(api, 'limit=1000');
      return found.length === 150 && found;
    });
    expect(all.map(({ timestamp }) => timestamp)).toEqual(times.toReversed());
    expect(await search(api)).toEqual(all.slice(0, 100));
    expect(await search(api, 'sort=asc&limit=10')).toEqual(all.toReversed().slice(0, 10));
    expect(await search(api, 'sort=desc&offset=140')).toEqual(all.slice(140));
    expect(await search(api, 'limit=1000&offset=9000')).toEqual([]);
    for (const query of [
      'limit=1001',
      'limit=x',
      'offset=-1',
      'limit=1000&offset=9001',
      'sort=up',
      'limit=1&limit=2',
    ]) {
      const { status, body } = await api.get<{ code: string }>(`${PATH}?${query}`);
      expect([query, status, body.code]).toEqual([query, 400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    }
  });

  it('AUD-005 bounds the time', async () => {
    const api = reader('t-time');
    const day = new Date(Date.now() - DAY).toISOString().slice(0, 10);
    await report('t-time', { timestamp: `${day}T10:00:00.000Z`, description: 'ten' });
    await report('t-time', { timestamp: `${day}T11:00:00.000Z`, description: 'eleven' });
    await eventually(async () => (await search(api)).length === 2);
    expect(await descriptions(api, `from=${day}T10:30:00Z`)).toEqual(['eleven']);
    expect(await descriptions(api, `to=${day}T10:30:00Z`)).toEqual(['ten']);
    expect(await descriptions(api, `from=${day}T10:00:00Z&to=${day}T11:00:00Z`)).toEqual(['eleven', 'ten']);
    expect(await descriptions(api, `from=${encodeURIComponent(`${day}T12:30:00+02:00`)}`)).toEqual(['eleven']);
    const bad = await api.get<{ details: unknown }>(`${PATH}?from=x&to=y`);
    expect(bad.status).toBe(400);
    expect(bad.body.details).toEqual([
      { field: 'from', expected: 'an ISO 8601 date and time' },
      { field: 'to', expected: 'an ISO 8601 date and time' },
    ]);
  });

  it('AUD-006 filters by any field and by texts', async () => {
    const api = reader('t-filter');
    const sent: Array<Partial<StoredAuditEntry>> = [
      { description: '1', source: { deviceId: 'D', nodeId: 'n1', connector: 'mqtt' } },
      { description: '2', source: { deviceId: 'D' }, level: 'info', type: 'connected' },
      { description: '3', source: { deviceId: 'E', nodeId: 'n1' }, subcategory: 'lora' },
      { description: '4 Daily quota', category: 'data', subcategory: 'storage', content: { limit: 10, full: true } },
      { description: '5 quota', detailedDescription: 'a daily one', content: { 'a.b': 'x', list: ['y'] } },
      { description: '6 daily', content: { limit: '10' } },
    ];
    for (const [i, entry] of sent.entries())
      await report('t-filter', { ...entry, timestamp: new Date(Date.now() - 60_000 + i).toISOString() });
    await eventually(async () => (await search(api)).length === sent.length);
    const found = async (query: string): Promise<string> =>
      (await descriptions(api, `sort=asc&${query}`)).map((text) => text[0]).join('');
    expect(await found('level=error&source.deviceId=D')).toBe('1');
    expect(await found('source.deviceId=D')).toBe('12');
    expect(await found('source.nodeId=n1')).toBe('13');
    expect(await found('source.connector=mqtt')).toBe('1');
    expect(await found('type=connected')).toBe('2');
    expect(await found('category=connectivity&subcategory=lora')).toBe('3');
    expect(await found('category=data')).toBe('4');
    expect(await found('description=6%20daily')).toBe('6');
    expect(await found('content.limit=10')).toBe('46');
    expect(await found('content.full=true')).toBe('4');
    expect(await found('level=warning')).toBe('');
    expect(await found('source.deviceId=')).toBe('');
    expect(await found('@any=quota&@any=daily')).toBe('45');
    expect(await found('@any=quota')).toBe('45');
    expect(await found('@any=100%25')).toBe('');
    expect(await found('@any=a%00b')).toBe('');
    expect(await found('content.__proto__=x')).toBe('');
    for (const query of ['colour=red', 'tenantId=t-one', 'level=error&level=info', '__proto__=x']) {
      const { status, body } = await api.get<{ code: string }>(`${PATH}?${query}`);
      expect([query, status, body.code]).toEqual([query, 400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    }
  });

  it('AUD-007 shows a tenant its own messages alone', async () => {
    await report('t-A', { description: 'of A', source: { deviceId: 'D' } });
    await report('t-B', { description: 'of B', source: { deviceId: 'D' } });
    await eventually(async () => (await search(reader('t-B'))).length > 0);
    for (const query of ['', 'source.deviceId=D', '@any=of', 'sort=asc&limit=1000'])
      expect(await descriptions(reader('t-A'), query)).toEqual(['of A']);
  });

  it('LIM-035 AUD-025 returns nothing that is older than 14 days', async () => {
    const ago = (days: number): string => new Date(Date.now() - days * DAY).toISOString();
    await report('t-old', { timestamp: ago(15), description: 'older' });
    await report('t-old', { timestamp: ago(13), description: 'newer' });
    const api = reader('t-old');
    await eventually(async () => (await search(api)).length > 0);
    expect(await descriptions(api, `from=${ago(20)}`)).toEqual(['newer']);
  });
});

it('describes its operation, and the role that it needs', async () => {
  const answer = await fetch(`${platform.url}/swagger-ui-json`);
  const { paths } = (await answer.json()) as {
    paths: Record<string, { get: { 'x-roles': string[]; parameters: Array<{ name: string }> } }>;
  };
  expect(paths[PATH]!.get['x-roles']).toEqual(['LOGS_R']);
  expect(paths[PATH]!.get.parameters.map(({ name }) => name)).toContain('source.deviceId');
});

describe('retention', () => {
  it('LIM-034 deletes the oldest messages of a tenant that has too many, and all that are too old', async () => {
    const start = Date.now() - 100_000;
    const at = (tenantId: string, i: number) =>
      report(tenantId, { timestamp: new Date(start + i).toISOString(), description: String(i) });
    await report('t-full', { timestamp: new Date(start - 15 * DAY).toISOString() });
    for (let i = 0; i < 101; i++) await at('t-full', i);
    for (let i = 0; i < 100; i++) await at('t-nearly', i);
    await eventually(async () => (await search(reader('t-nearly'))).length === 100);
    const database = await Database.connect({ url: backend.config.DATABASE_URL, schema: auditLog.schema! });
    await deleteExpired(database, 100);
    await database.close();
    const kept = await descriptions(reader('t-full'), 'sort=asc&limit=1000');
    expect([kept.length, kept[0]]).toEqual([100, '1']);
    expect(await search(reader('t-nearly'), 'limit=1000')).toHaveLength(100);
    expect(
      await backend.query(`SELECT id FROM audit.messages WHERE timestamp < now() - interval '14 days'`),
    ).toHaveLength(0);
  });
});

describe('reading from the bus', () => {
  const rows = (tenantId: string): Promise<unknown[]> =>
    backend.query('SELECT id FROM audit.messages WHERE tenant_id = $1', [tenantId]);

  it('goes on after entries that cannot be kept', async () => {
    await report('t-bad', { description: 'first' });
    await bus.js.publish(AUDIT_SUBJECT, 'no json');
    await bus.js.publish(AUDIT_SUBJECT, 'null');
    await report('t-bad', { id: '' });
    await report('t-bad', { timestamp: 'yesterday' });
    await report('t-bad\0', { description: 'no tenant has such an id' });
    await report('t-bad', { description: 'last' });
    await eventually(async () => (await rows('t-bad')).length === 2);
    expect((await descriptions(reader('t-bad'))).sort()).toEqual(['first', 'last']);
  });

  it('keeps entries with characters that PostgreSQL does not take', async () => {
    const description = 'topic a\0b \ud800 \\u0000 😀';
    await report('t-nul', { description, content: { 'k\0': 1 } });
    const [message] = await eventually(async () => {
      const found = await search(reader('t-nul'));
      return found.length > 0 && found;
    });
    expect(message!.description).toBe('topic a\ufffdb \ufffd \\u0000 😀');
    expect(message!.content).toEqual({ 'k\ufffd': 1 });
    expect(
      await search(reader('t-nul'), `description=${encodeURIComponent('topic a\0b \ufffd \\u0000 😀')}`),
    ).toHaveLength(1);
  });

  it('keeps an entry once, whatever is stopped and however often it is sent', async () => {
    const second = await backend.boot([auditLog]);
    const count = 300;
    const backlog = 1700;
    const id = newMessageId();
    await report('t-once', { id });
    await report('t-once', { id });
    const sending = (async () => {
      for (let i = 1; i < count; i++) await report('t-once', {});
    })();
    await eventually(async () => (await rows('t-once')).length > 20);
    await platform.close();
    await sending;
    await eventually(async () => (await rows('t-once')).length === count);
    await second.close();
    await Promise.all(Array.from({ length: backlog }, () => report('t-once', {})));
    await report('t-once', { description: 'the last while nobody reads' });
    platform = await backend.boot([auditLog]);
    await eventually(async () => (await rows('t-once')).length === count + backlog + 1);
    expect(await descriptions(reader('t-once'), '@any=nobody')).toEqual(['the last while nobody reads']);
  });
});
