import { randomUUID } from 'node:crypto';
import { PackingPublisher } from '@orrery/core/bus';
import { type EventHeader, newMessageId, partitionOf } from '@orrery/core/messages';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import { store } from '@orrery/store';
import { routing } from '../index.js';
import { POLICIES } from '../testing/routed.js';
import { startWebhook, type Webhook } from '../testing/webhook.js';
import type { PolicyBacktestDto } from './backtest.dto.js';

let backend: Backend;
let api: ApiClient;
let stranger: ApiClient;
let tenantId: string;
let events: PackingPublisher;
let webhook: Webhook;
let partitions: number;
let newApi: (tenant: string) => ApiClient;

const FROM = new Date(Date.now() - 60_000).toISOString();

beforeAll(async () => {
  backend = await startBackend([store, routing], { ORRERY_WEBHOOK_ALLOW: '127.0.0.1:*' });
  const bus = await backend.bus();
  const keys = keyRing(bus);
  events = new PackingPublisher(bus, 'EVENTS');
  partitions = bus.partitions;
  const { url } = await backend.boot([store, routing]);
  newApi = (tenant) => apiClient(url, keys.grant(tenant).value);
  stranger = newApi(randomUUID());
  webhook = await startWebhook();
});
afterAll(async () => {
  await webhook.close();
  await events.close();
  await backend.stop();
});
beforeEach(() => {
  tenantId = randomUUID();
  api = newApi(tenantId);
});

async function create(triggers: object, actions: object): Promise<string> {
  const { status, body } = await api.post<{ id: string }>(POLICIES, { enabled: false, triggers, actions });
  expect({ status, body }).toMatchObject({ status: 200 });
  return body.id;
}

/** Stores messages. @returns their ids. */
async function put(streamId: string, ...messages: object[]): Promise<string[]> {
  const ids: string[] = [];
  for (const message of messages)
    ids.push((await api.post<{ id: string }>(`/api/v0/data/streams/${streamId}`, message)).body.id);
  await stored(ids);
  return ids;
}

const stored = (ids: string[]): Promise<unknown> =>
  eventually(async () => {
    const rows = await backend.query('SELECT 1 FROM store.messages WHERE tenant_id = $1 AND id = ANY($2)', [
      tenantId,
      ids,
    ]);
    return rows.length === ids.length;
  });

async function backtest(id: string, body: object = {}): Promise<PolicyBacktestDto> {
  const answer = await api.post<PolicyBacktestDto>(`${POLICIES}/${id}/backtest`, { from: FROM, ...body });
  expect(answer).toMatchObject({ status: 200 });
  return answer.body;
}

const DATA = { dataMessage: { version: 1 } };

describe('a backtest of a policy', () => {
  it('tells what each action would have sent, and sends nothing', async () => {
    expect((await api.post('/api/v0/topics/fifo', { name: 'alarms' })).status).toBe(200);
    const ids = await put('s', { value: { t: 1 }, tags: ['HIGH'] }, { value: { t: 2 } }, { value: {}, tags: ['HIGH'] });
    const id = await create(
      { dataMessage: { version: 1, filter: { tags: [['HIGH']] } } },
      {
        fifoPublish: [{ fifoName: 'alarms' }],
        httpPush: [{ webhookUrl: webhook.url, jsonPath: '$.value.t' }],
        emails: [{ to: ['a@example.com'], contentTemplate: '{{streamId}}: {{value.t}}' }],
        sms: [{ destinationPhoneNumbers: ['+33600000000'], contentTemplate: 'x'.repeat(2000) }],
        azureEventHubs: [
          {
            eventHubsNamespace: 'my-namespace',
            eventHubName: 'hub',
            sharedAccessKeyName: 'key',
            sharedAccessKey: 'c2VjcmV0LXNlY3JldA==',
            retryOnFailure: false,
            content: '{{type}}',
          },
        ],
      },
    );
    const result = await backtest(id);
    expect(result).toMatchObject({ messages: 3, matched: 2, complete: true });
    expect(result.routed.map(({ messageId }) => messageId)).toEqual([ids[0], ids[2]]);
    expect(result.routed[0]!.actions).toEqual([
      { type: 'fifoPublish', fifoName: 'alarms' },
      { type: 'emails', to: ['a@example.com'], subject: 'Notification: dataMessage', text: 's: 1' },
      { type: 'sms', destinationPhoneNumbers: ['+33600000000'], text: 'x'.repeat(1530) },
      { type: 'httpPush', webhookUrl: webhook.url, body: '1' },
      {
        type: 'azureEventHubs',
        eventHubsNamespace: 'my-namespace',
        eventHubName: 'hub',
        body: 'dataMessage',
      },
    ]);
    expect(result.routed[1]!.actions[3]).toEqual({ type: 'httpPush', error: expect.stringContaining('jsonPath') });
    expect(JSON.stringify(result)).not.toContain('c2VjcmV0');
    expect(webhook.pushes).toEqual([]);
    for (const table of ['deliveries', 'waiting_sms'])
      expect(await backend.query(`SELECT 1 FROM routing.${table} WHERE tenant_id = $1`, [tenantId])).toEqual([]);
    expect(await backend.query('SELECT 1 FROM routing.fifo_messages')).toEqual([]);
  });

  it('runs over the stored events of rules, in their routed shape', async () => {
    const rule = { id: randomUUID(), name: 'hot' };
    const data = { streamId: 's', timestamp: FROM, value: { t: 1 }, type: 'dataMessage', version: 1 };
    const ids = [newMessageId(), newMessageId()];
    const bodies = ids.map((_, i) => ({
      type: 'matchingFired',
      version: 1,
      tenantId,
      timestamp: FROM,
      firingRule: i === 0 ? rule : { id: randomUUID() },
      matchingContext: { tenantId, timestamp: FROM, matchingRule: { id: rule.id, name: 'm' }, data },
    }));
    for (const [i, body] of bodies.entries()) {
      const rules = {
        firingRule: { ...body.firingRule, enabled: true },
        matchingRule: { id: rule.id, name: 'm', x: 1 },
      };
      const header: EventHeader = { tenantId, type: body.type, key: 's', stored: { id: ids[i]!, rules } };
      await events.publish(partitionOf(tenantId, 's', partitions), JSON.stringify(header), JSON.stringify(body));
    }
    await stored(ids);
    await put('s', { value: {} });
    const id = await create(
      { matchingFired: { version: 1, filter: { ruleIds: [rule.id] } } },
      { httpPush: [{ webhookUrl: webhook.url }] },
    );
    const { routed, ...counts } = await backtest(id);
    expect(counts).toMatchObject({ messages: 2, matched: 1 });
    expect(routed).toMatchObject([{ messageId: ids[0], type: 'matchingFired' }]);
    expect(JSON.parse(String(routed[0]!.actions[0]!['body']))).toEqual(bodies[0]);
  });

  it('tries what a policy is to become, keeps to its time and lists no more than the limit', async () => {
    await put('s', { value: {}, tags: ['A'] }, { value: {}, tags: ['B'] }, { value: {}, tags: ['B'] });
    const actions = { fifoPublish: [{ fifoName: 'f' }] };
    const id = await create({ dataMessage: { version: 1, filter: { tags: [['A']] } } }, actions);
    const policy = { enabled: true, triggers: { dataMessage: { version: 1, filter: { tags: [['B']] } } }, actions };
    const tried = await backtest(id, { policy, limit: 1 });
    expect(tried).toMatchObject({ messages: 3, matched: 2 });
    expect(tried.routed).toHaveLength(1);
    expect((await backtest(id)).matched).toBe(1);
    expect(await backtest(id, { to: FROM })).toMatchObject({ messages: 0, matched: 0, complete: true });
    const bad = { from: FROM, policy: { ...policy, actions: {} } };
    expect(await api.post(`${POLICIES}/${id}/backtest`, bad)).toMatchObject({
      status: 400,
      body: { details: [{ field: 'actions' }] },
    });
  });

  it('refuses events that are not stored, bad times, and the policies of others', async () => {
    const actions = { fifoPublish: [{ fifoName: 'f' }] };
    const lifecycle = await create({ deviceCreated: { version: 1 } }, actions);
    expect(await api.post(`${POLICIES}/${lifecycle}/backtest`, { from: FROM })).toMatchObject({
      status: 400,
      body: { details: [{ field: 'triggers', expected: expect.stringContaining('not stored') }] },
    });
    const id = await create(DATA, actions);
    expect(await api.post(`${POLICIES}/${id}/backtest`, {})).toMatchObject({
      status: 400,
      body: { details: [{ field: 'from' }] },
    });
    expect((await stranger.post(`${POLICIES}/${id}/backtest`, { from: FROM })).status).toBe(404);
  });
});
