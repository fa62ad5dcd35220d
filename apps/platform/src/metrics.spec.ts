import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connectAsync, type MqttClient } from 'mqtt';
import { callRpc } from '@orrery/core/bus';
import { UNLIMITED_CONTENTS } from '@orrery/core/limits';
import { registry } from '@orrery/core/telemetry';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  sampled,
  samplesOf,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import { createTenant } from '@orrery/identity/contract';
import { mqttPorts } from '@orrery/mqtt-connector';
import { services } from './services.js';

// What the metrics of all services show after real work.

const TENANT = 'metered-account';
/** Names that the tenant has chosen: none may be seen. */
const CHOSEN = ['chosen-device', 'chosen-fifo', 'chosen-encoding', 'chosen-rule', 'chosen-policy', 'chosen-model'];
const [DEVICE, FIFO, ENCODING, RULE, POLICY, MODEL] = CHOSEN as [string, string, string, string, string, string];

let backend: Backend;
let platform: TestPlatform;
let api: ApiClient;
let tenantId: string;
let apiKey: string;
let server: Server;
/** Answers with the status of its path. */
let url: string;
const clients: MqttClient[] = [];

beforeAll(async () => {
  backend = await startBackend(services, { ORRERY_WEBHOOK_ALLOW: '127.0.0.1:*' });
  platform = await backend.boot(services);
  const account = { name: TENANT, settings: UNLIMITED_CONTENTS };
  ({ tenantId, masterKey: apiKey } = await callRpc(await backend.bus(), createTenant, account));
  api = apiClient(platform.url, apiKey);
  server = createServer((request, response) => {
    request.resume();
    response.statusCode = Number(request.url!.slice(1));
    response.end('{}');
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.endAsync(true)));
  server.closeAllConnections();
  server.close();
  await backend.stop();
});

async function create(path: string, body: object): Promise<string> {
  const answer = await api.post<{ id: string }>(path, { enabled: true, ...body });
  expect({ path, status: answer.status, body: answer.body }).toMatchObject({ body: expect.anything() });
  expect([200, 201]).toContain(answer.status);
  return answer.body.id;
}
const policy = (actions: object): Promise<string> =>
  create('/api/v1/event2action/actionPolicies', {
    name: POLICY,
    triggers: { dataMessage: { version: 1 } },
    actions,
  });
const send = async (message: object): Promise<void> =>
  expect((await api.post('/api/v0/data/streams/chosen-stream', message)).status).toBe(202);
async function connect(username: string, clientId: string): Promise<MqttClient> {
  const ports = mqttPorts(platform.app);
  const client = await connectAsync({
    host: '127.0.0.1',
    protocol: 'mqtts',
    port: ports.tls!,
    rejectUnauthorized: false,
    reconnectPeriod: 0,
    username,
    password: apiKey,
    clientId,
  });
  clients.push(client);
  return client;
}

const value = async (name: string, labels: Record<string, string> = {}): Promise<number> =>
  sampled(await samplesOf(platform.url), name, labels) ?? 0;
/** Waits until the metric is not 0. */
const moves = (name: string, labels: Record<string, string> = {}): Promise<unknown> =>
  eventually(async () => (await value(name, labels)) > 0).catch((error: unknown) => {
    throw new Error(`${name} ${JSON.stringify(labels)} does not move`, { cause: error });
  });

it('count what each service does', async () => {
  const rules = '/api/v0/eventprocessing';
  const matching = await create(`${rules}/matching-rule`, { name: RULE, dataPredicate: { '!!': [true] } });
  await create(`${rules}/firing-rule`, { name: RULE, firingType: 'ALWAYS', matchingRuleIds: [matching] });
  await create('/api/v0/topics/fifo', { name: FIFO });
  await policy({ fifoPublish: [{ fifoName: FIFO }] });
  for (const status of [204, 404, 503]) await policy({ httpPush: [{ webhookUrl: `${url}/${status}` }] });
  await policy({ httpPush: [{ webhookUrl: 'http://127.0.0.1:1/' }] });
  await create('/api/v0/decoders/binary', { encoding: ENCODING, format: 'int pressure;' });
  await create('/api/v0/pipelines', {
    name: POLICY,
    priorityLevel: 1,
    filter: { tags: [['piped']] },
    steps: [{ type: 'externalTransformation', url: `${url}/500` }],
  });

  const device = await connect('json+device', `urn:lo:nsid:x:${DEVICE}`);
  for (let i = 0; i < 5; i++)
    await device.publishAsync('dev/data', JSON.stringify({ s: 's', v: { n: i }, m: MODEL }), { qos: 1 });
  await device.publishAsync('dev/data', 'no JSON', { qos: 1 });
  await moves('orrery_mqtt_sessions', { mode: 'device' });
  await moves('orrery_mqtt_puback_seconds_count');
  await moves('orrery_mqtt_problems_total', { type: 'bad_message' });

  const application = await connect('application', 'application');
  await application.subscribeAsync(`fifo/${FIFO}`, { qos: 1 });
  await moves('orrery_fifo_messages_total', { outcome: 'stored' });
  await moves('orrery_fifo_messages_total', { outcome: 'delivered' });
  await application.endAsync();
  await send({ value: { n: 1 }, model: MODEL });
  await moves('orrery_fifo_waiting_messages');
  await moves('orrery_fifo_waiting_bytes');

  await moves('orrery_rules_evaluations_total');
  await moves('orrery_rules_evaluation_seconds_count');
  await moves('orrery_rules_firings_total', { type: 'matchingFired' });

  const kind = 'httpPush';
  await moves('orrery_push_attempts_total', { kind, result: 'success' });
  await moves('orrery_push_attempts_total', { kind, result: 'client_error' });
  await moves('orrery_push_attempts_total', { kind, result: 'server_error' });
  await moves('orrery_push_attempts_total', { kind, result: 'connection' });
  await moves('orrery_push_seconds_count', { kind });

  // Until filters of stages have reached the connectors.
  await eventually(async () => {
    await send({ value: { payload: '00000001', n: 1 }, model: MODEL, metadata: { encoding: ENCODING } });
    await send({ value: { payload: '00' }, model: MODEL, metadata: { encoding: ENCODING } });
    await send({ value: { n: 'a text where numbers were' }, model: MODEL, tags: ['piped'] });
    return (
      (await value('orrery_decoder_messages_total', { outcome: 'decoded' })) > 0 &&
      (await value('orrery_decoder_messages_total', { outcome: 'failed' })) > 0 &&
      (await value('orrery_pipeline_messages_total', { outcome: 'failed' })) > 0
    );
  });
  await moves('orrery_decoder_seconds_count');
  await moves('orrery_pipeline_seconds_count');
  await moves('orrery_search_refused_total');

  expect((await api.post('/api/v1/data/search', { query: { match_all: {} } })).status).toBe(200);
  expect((await api.post('/api/v1/data/search', { query: { nothing: {} } })).status).toBe(400);
  await moves('orrery_search_seconds_count', { outcome: 'answered' });
  await moves('orrery_search_index_seconds_count');
  await moves('orrery_search_index_documents_sum');

  for (const reader of ['store', 'search', 'routing', 'event-processing', 'decoder', 'pipeline'])
    for (const metric of ['messages_total', 'batch_seconds_count', 'batch_messages_sum', 'partitions'])
      await moves(`orrery_reader_${metric}`, { reader });
  await moves('orrery_bus_ack_seconds_count', { stream: 'READY' });
  await moves('orrery_lease_changes_total', { leases: 'store', change: 'acquired' });
  await moves('orrery_job_runs_total', { job: 'deliveries', outcome: 'done' });
  await moves('orrery_database_connections', { schema: 'store' });
  await moves('orrery_http_request_seconds_count', { status: '202' });
});

it('show the lag of the reader that is held up, and of no other, until it has caught up', async () => {
  const store = { reader: 'store', stream: 'READY' };
  await eventually(async () => (await value('orrery_reader_lag_entries', store)) === 0);
  await backend.query('BEGIN');
  try {
    await backend.query('LOCK TABLE store.messages IN ACCESS EXCLUSIVE MODE');
    for (let i = 0; i < 3; i++) await send({ value: { n: i } });
    await moves('orrery_reader_lag_entries', store);
    const before = await value('orrery_reader_lag_seconds', store);
    await eventually(async () => (await value('orrery_reader_lag_seconds', store)) > before);
    await moves('orrery_stream_oldest_seconds', { stream: 'READY' });
    await moves('orrery_stream_fill_ratio', { stream: 'READY' });
    await eventually(async () => (await value('orrery_reader_lag_entries', { reader: 'routing' })) === 0);
  } finally {
    await backend.query('ROLLBACK');
  }
  await eventually(async () => (await value('orrery_reader_lag_entries', store)) === 0);
  expect(await value('orrery_reader_lag_seconds', store)).toBe(0);
});

it('tell nothing of tenants, and have few values for each label', async () => {
  const samples = await samplesOf(platform.url);
  const own = samples.filter(({ name }) => name.startsWith('orrery_'));
  expect(own.length).toBeGreaterThan(500);
  const texts = new Set(samples.flatMap(({ labels }) => Object.values(labels)));
  for (const secret of [tenantId, TENANT, apiKey, 'chosen', ...CHOSEN])
    expect([...texts].filter((text) => text.includes(secret))).toEqual([]);
  const counts = new Map<string, Set<string>>();
  for (const { labels } of own)
    for (const [label, text] of Object.entries(labels)) counts.set(label, (counts.get(label) ?? new Set()).add(text));
  // Routes are as many as the API has operations.
  counts.delete('route');
  for (const [label, values] of counts) expect([label, values.size <= 60]).toEqual([label, true]);
});

it('are named as Prometheus wants it, and say what they are', () => {
  for (const metric of registry.getMetricsAsArray() as unknown as Array<{ name: string; help: string; type: string }>) {
    const { name, help } = metric;
    if (!name.startsWith('orrery_')) continue;
    expect(name).toMatch(/^orrery_[a-z]+(_[a-z]+)+$/);
    expect(help.length).toBeGreaterThan(10);
    const kind = metric.constructor.name;
    expect([name, name.endsWith('_total')]).toEqual([name, kind === 'Counter']);
    if (kind === 'Histogram') expect(name).toMatch(/_(seconds|messages|documents|bytes)$/);
  }
});
