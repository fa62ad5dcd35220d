import { readdir, readFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { connectNats, controlSubject, defineRpc, type Rpc } from '@orrery/core/bus';
import * as auth from '@orrery/core/auth';
import { Database } from '@orrery/core/database';
import { encodeEntry } from '@orrery/core/messages';
import type { Service, ServiceRoles } from '@orrery/core/service';
import * as tenants from '@orrery/core/tenants';
import { scrape } from '@orrery/core/telemetry';
import { apiClient, type ApiClient, type Backend, eventually, startBackend } from '@orrery/core/testing';
import * as deviceManagerContract from '@orrery/device-manager/contract';
import { bootstrap, identity } from '@orrery/identity';
import * as identityContract from '@orrery/identity/contract';
import { mqttConnector, mqttPorts } from '@orrery/mqtt-connector';
import * as routingContract from '@orrery/routing/contract';
import * as searchContract from '@orrery/search/contract';
import * as storeContract from '@orrery/store/contract';
import { CHART } from '../../../../tools/helm/chart.mjs';
import { passwordVariable, PERMISSIONS } from '../../../../tools/helm/nats-permissions.mjs';
import { startNats } from '../../../../tools/services/nats.mjs';
import { services } from '../services.js';

// What the chart and deploy/ let each process do on the bus is what it needs: each as its own user of a real server.

const API_KEY = 'the-key-of-the-first-tenant';

interface Process {
  user: string;
  services: Service[];
  roles?: ServiceRoles;
}
interface Installation {
  backend: Backend;
  /** By name of the service. */
  apis: Map<string, ApiClient>;
  clients: MqttClient[];
  mqttPort: number;
  urlOf(user: string): string;
  /** What the server refused. */
  violations(): Promise<string[]>;
  stop(): Promise<void>;
}

/** @param file with the users, and their passwords as variables. */
async function install(file: string, processes: Process[]): Promise<Installation> {
  const authorization = await readFile(join(CHART, '../..', file), 'utf8');
  const users = [...authorization.matchAll(/user: "(.*?)"/g)].map(([, user]) => user!);
  const passwords = Object.fromEntries(users.map((user, i) => [passwordVariable(user), `p${i}x${user.length}`]));
  const dataDir = await mkdtemp(join(tmpdir(), 'orrery-nats-users-'));
  const nats = await startNats({
    dataDir,
    env: { ...process.env, ...passwords },
    log: () => undefined,
    password: passwords[passwordVariable('migrate')]!,
    users: { user: 'migrate', authorization },
  });
  const urlOf = (user: string): string => {
    const url = new URL(nats.url);
    url.username = user;
    url.password = passwords[passwordVariable(user)]!;
    return url.href;
  };
  const backend = await startBackend(services, { NATS_URL: urlOf('migrate') });
  const installation: Installation = {
    backend,
    apis: new Map(),
    clients: [],
    mqttPort: 0,
    urlOf,
    violations: async () =>
      (await readFile(join(dataDir, 'logs/nats.log'), 'utf8')).split('\n').filter((line) => line.includes('Violation')),
    async stop() {
      for (const client of installation.clients) client.end(true);
      await backend.stop();
      await nats.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
  const database = await Database.connect({ url: backend.config.DATABASE_URL, schema: identity.schema!, poolSize: 1 });
  await bootstrap(database, { ORRERY_BOOTSTRAP_LOGIN: 'admin', ORRERY_BOOTSTRAP_API_KEY: API_KEY });
  await database.close();
  for (const { user, services: part, roles } of processes) {
    const { url, app } = await backend.boot(part, roles, { NATS_URL: urlOf(user) });
    if (roles?.api === false) continue;
    for (const { name } of part) installation.apis.set(name, apiClient(url, API_KEY));
    if (part.includes(mqttConnector)) installation.mqttPort = mqttPorts(app).tls;
  }
  return installation;
}

async function connect(installation: Installation, username: string, clientId: string): Promise<MqttClient> {
  const client = await connectAsync(`mqtts://localhost:${installation.mqttPort}`, {
    username,
    password: API_KEY,
    clientId,
    rejectUnauthorized: false,
    reconnectPeriod: 0,
  });
  installation.clients.push(client);
  return client;
}
const post = async ({ apis }: Installation, service: string, path: string, body: object): Promise<{ id: string }> => {
  const answer = await apis.get(service)!.post<{ id: string }>(path, body);
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
};

describe.each<{ title: string; file: string; processes: Process[] }>([
  {
    title: 'a process for each service',
    file: 'helm/orrery/files/nats-authorization.conf',
    processes: services.map((service) => ({ user: service.name, services: [service] })),
  },
  {
    title: 'edge and processing',
    file: 'deploy/nats-authorization.conf',
    processes: [
      { user: 'edge', services, roles: { api: true, worker: false } },
      { user: 'processing', services, roles: { api: false, worker: true } },
    ],
  },
])('with $title', ({ file, processes }) => {
  let installation: Installation;
  beforeAll(async () => {
    installation = await install(file, processes);
  });
  afterAll(() => installation?.stop());

  it('lets messages take every way that there is', async () => {
    await post(installation, 'routing', '/api/v0/topics/fifo', { name: 'all' });
    await post(installation, 'routing', '/api/v1/event2action/actionPolicies', {
      name: 'all',
      enabled: true,
      triggers: { dataMessage: { version: 1 } },
      actions: { fifoPublish: [{ fifoName: 'all' }] },
    });
    await post(installation, 'decoder', '/api/v0/decoders/binary', {
      encoding: 'twointegers',
      format: 'int pressure;int temperature;',
      enabled: true,
    });
    await post(installation, 'pipeline', '/api/v0/pipelines', {
      name: 'away',
      enabled: true,
      priorityLevel: 1,
      filter: { tags: [['piped']] },
      // Nobody answers there: the message goes on as it is.
      steps: [{ type: 'externalTransformation', url: 'https://nowhere.invalid/' }],
    });
    await post(installation, 'device-manager', '/api/v1/deviceMgt/groups', { pathNode: 'g' });
    const rules = '/api/v0/eventprocessing';
    const { id } = await post(installation, 'event-processing', `${rules}/matching-rule`, {
      name: 'hot',
      enabled: true,
      dataPredicate: { '>': [{ var: 'value.temp' }, 50] },
    });
    await post(installation, 'event-processing', `${rules}/firing-rule`, {
      name: 'hot',
      enabled: true,
      matchingRuleIds: [id],
      firingType: 'ALWAYS',
    });

    const application = await connect(installation, 'application', 'app');
    const consumed: string[] = [];
    application.on('message', (_, payload) => consumed.push(payload.toString()));
    await application.subscribeAsync('fifo/all', { qos: 1 });
    const device = await connect(installation, 'json+device', 'urn:lo:nsid:mqtt:d1');
    let sent = 0;
    // Until filters of stages have reached the connector.
    await eventually(async () => {
      const value = { payload: '000003F5000000DD', temp: 99, n: ++sent };
      await device.publishAsync(
        'dev/data',
        JSON.stringify({ value, metadata: { encoding: 'twointegers' }, tags: ['piped'] }),
        { qos: 1 },
      );
      return consumed.some((body) => body.includes('"pressure":1013'));
    });
    await installation.apis.get('store')!.post('/api/v0/data/streams/injected', { value: { temp: 1 } });
    await eventually(() => consumed.some((body) => body.includes('"injected"')));
    await application.publishAsync('fifo/all', JSON.stringify({ direct: true }), { qos: 1 });
    await eventually(() => consumed.some((body) => body.includes('"direct"')));
    await eventually(async () => {
      const { body } = await installation.apis
        .get('store')!
        .get<unknown[]>('/api/v0/data/streams/urn:lo:nsid:mqtt:d1?limit=100');
      return body.length >= sent;
    });
    const from = new Date(Date.now() - 3_600_000).toISOString();
    await post(installation, 'event-processing', `${rules}/matching-rule/${id}/backtest`, { from });
    await eventually(async () => {
      const api = installation.apis.get('store')!;
      const { body } = await api.get<Array<{ id: string }>>('/api/v0/data/streams/urn:lo:nsid:mqtt:d1?limit=1');
      const path = `/api/v1/data/messages/${body[0]!.id}/journey`;
      const { body: journey } = await api.get<{ steps: Array<{ outcome: string }> }>(path);
      return journey.steps.every(({ outcome }) => outcome !== 'unknown');
    });
    await eventually(async () => {
      const query = { size: 0, query: { exists: { field: 'streamId' } } };
      const { status, body } = await installation.apis
        .get('search')!
        .post<{ hits: { total: number } }>('/api/v0/data/search', query);
      return status === 200 && body.hits.total >= sent;
    });
    await eventually(async () => {
      const { body } = await installation.apis
        .get('device-manager')!
        .get<{ interfaces: Array<{ status: string }> }>('/api/v1/deviceMgt/devices/urn:lo:nsid:mqtt:d1');
      return body.interfaces?.[0]?.status === 'ONLINE';
    });
    // What is refused is audited.
    await device.publishAsync('dev/data', 'no JSON', { qos: 1 });
    await eventually(async () => {
      const { body } = await installation.apis
        .get('audit-log')!
        .get<unknown[]>('/api/v0/auditlog/messages?level=error');
      return body.length > 0;
    });
    // The same client again: the other session is told to end.
    await connect(installation, 'json+device', 'urn:lo:nsid:mqtt:d1');
    // Connectors in connector mode take requests of every tenant and kind.
    const connector = await connect(installation, 'connector', 'adapter');
    await connector.subscribeAsync('connector/v1/requests/command', { qos: 1 });
    await connector.publishAsync('connector/v1/nodes/n1/data', JSON.stringify({ value: { a: 1 } }), { qos: 1 });
    await eventually(async () => {
      const { body } = await installation.apis
        .get('store')!
        .get<unknown[]>('/api/v0/data/streams/urn:lo:nsid:x-connector:n1');
      return body.length === 1;
    });
    // Streams are freed of what all have read: by whoever holds the lease, as often as leases are renewed.
    const connection = await connectNats(installation.urlOf('migrate'), 'test');
    try {
      await eventually(async () => {
        const answer = await connection.request('$JS.API.STREAM.LIST', '{"subject":"ready.*"}');
        const { streams } = answer.json<{ streams: Array<{ state: { first_seq: number } }> }>();
        return streams.some(({ state }) => state.first_seq > 1);
      });
    } finally {
      await connection.close();
    }
    // How far readers are behind is asked for at each scrape.
    await eventually(async () => (await scrape()).includes('orrery_reader_lag_entries{reader="store"'));
    expect(await installation.violations()).toEqual([]);
  });

  it('lets every service forget a tenant', async () => {
    await installation.backend.query(
      `INSERT INTO identity.removed_tenants (id, removed) VALUES ('gone', now() - interval '90 days')`,
    );
    const connection = await connectNats(
      installation.urlOf(processes.at(-1)!.user === 'processing' ? 'processing' : 'identity'),
      'test',
    );
    connection.publish('control.tenant', encodeEntry([{ header: '{}', body: '{}' }]));
    await connection.flush();
    await connection.close();
    await eventually(async () => {
      for (const { schema } of services)
        if (schema) {
          const rows = await installation.backend.query<{ seq: string }>(
            `SELECT seq FROM ${schema.name}.tenant_removal`,
          );
          if (Number(rows[0]!.seq) === 0) return false;
        }
      return true;
    });
    expect(await installation.violations()).toEqual([]);
  });
});

/** True when one of the patterns of NATS covers the subject, which may be a pattern itself. */
function covered(patterns: string[], subject: string): boolean {
  return patterns.some((pattern) => {
    const [want, have] = [pattern.split('.'), subject.split('.')];
    const rest = want.at(-1) === '>';
    if (rest ? have.length < want.length : have.length !== want.length) return false;
    return want.every((token, i) => token === '*' || (rest && i === want.length - 1) || token === have[i]);
  });
}
/** Sources of a service without tests. */
async function sourcesOf(service: string): Promise<string> {
  const folder = join(CHART, '../../libs', service, 'src');
  const files = (await readdir(folder, { recursive: true })).filter(
    (file) => file.endsWith('.ts') && !file.endsWith('.spec.ts') && !file.includes('testing'),
  );
  return (await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')))).join('\n');
}

it('knows every question and every change that a service asks, answers, tells or listens to', async () => {
  const contracts = {
    ...auth,
    ...tenants,
    ...deviceManagerContract,
    ...identityContract,
    ...routingContract,
    ...searchContract,
    ...storeContract,
  };
  const named = contracts as Record<string, unknown>;
  // Those that core asks or hears for everybody.
  const everybody = { publish: ['rpc.identity.*', 'audit.entries'], subscribe: ['control.apiKey', 'control.tenant'] };
  let checked = 0;
  const refused: string[] = [];
  for (const { name } of services) {
    const source = await sourcesOf(name);
    const { publish } = PERMISSIONS[name]!;
    const subscribe = [...PERMISSIONS[name]!.subscribe, `rpc.${name}.*`];
    const constants = new Map(
      [...source.matchAll(/const (\w+_CONTROL) = '(\w+)'/g)].map(([, constant, kind]) => [constant!, kind!]),
    );
    const kindOf = (constant: string): string => constants.get(constant) ?? String(named[constant]);
    const check = (allowed: string[], subject: string): void => {
      checked++;
      if (!covered(allowed, subject)) refused.push(`${name}: ${subject}`);
    };
    const rpcOf = (constant: string): Rpc<unknown, unknown> => {
      if (!named[constant]) throw new Error(`${constant}, which ${name} uses, is in no contract`);
      return named[constant] as Rpc<unknown, unknown>;
    };
    for (const [, rpc] of source.matchAll(/callRpc\(\s*(?:[\w.]+),\s*(\w+)/g)) check(publish, rpcOf(rpc!).subject);
    for (const [, rpc, to] of source.matchAll(/serveRpc\(\s*(?:[\w.]+),\s*(\w+),.*?(, (?:to|address))?\)[,;]\n/g))
      if (!to || !rpcOf(rpc!).subject.startsWith('downlink')) check(subscribe, rpcOf(rpc!).subject);
    for (const [, kind] of source.matchAll(/controlSubject\((\w+)\)/g)) check(publish, controlSubject(kindOf(kind!)));
    for (const [, kind] of source.matchAll(/onControl\(\s*(\w+)/g))
      check([...subscribe, ...everybody.subscribe], controlSubject(kindOf(kind!)));
  }
  // What is here is missing in tools/helm/nats-permissions.mjs.
  expect(refused).toEqual([]);
  expect(checked).toBeGreaterThan(30);
});

describe('refuses', () => {
  let installation: Installation;
  beforeAll(async () => {
    installation = await install('helm/orrery/files/nats-authorization.conf', []);
  });
  afterAll(() => installation.stop());

  it.each([
    ['store', controlSubject('apiKey'), 'to say that a key changed'],
    ['search', 'ready.0', 'to make messages'],
    ['decoder', 'stages.TRANSFORM.tenant', "to change another service's filters"],
    ['event-processing', defineRpc('routing', 'fifoPublish').subject, 'to ask what it has no need to ask'],
    ['mqtt-connector', controlSubject('device'), 'to say that a device changed'],
    ['mqtt-connector', '$JS.API.STREAM.DELETE.READY_0', 'to delete a stream'],
    ['store', '$JS.API.STREAM.UPDATE.READY_0', 'to change a stream'],
    ['store', '$KV.orrery_registry.partitions', 'to change the number of partitions'],
    ['store', '$JS.API.CONSUMER.CREATE.AUDIT.mine', 'to read what others audit'],
    ['identity', '$JS.API.CONSUMER.CREATE.READY_0.mine', 'to read messages'],
    ['routing', '$JS.API.STREAM.PURGE.AUDIT', 'to purge the audit log'],
  ])('%s on %s: %s', async (user, subject) => {
    const before = (await installation.violations()).length;
    const connection = await connectNats(installation.urlOf(user), 'test');
    connection.publish(subject, '{}');
    await connection.flush().catch(() => undefined);
    await connection.close();
    const line = await eventually(async () => (await installation.violations()).slice(before)[0]);
    expect(line).toContain(`Publish Violation`);
    expect(line).toContain(subject);
  });

  it.each([
    ['store', 'rpc.identity.findApiKey', 'to answer for identity'],
    ['decoder', '>', 'to listen to everything'],
    ['mqtt-connector', 'control.>', 'to listen to changes that are not for it'],
    ['search', 'ready.*', 'to take messages without a position'],
    ['store', '_INBOX.identity.>', 'to listen to what others are answered'],
  ])('%s on %s: %s', async (user, subject) => {
    const before = (await installation.violations()).length;
    const connection = await connectNats(installation.urlOf(user), 'test');
    connection.subscribe(subject, { callback: () => undefined });
    await connection.flush().catch(() => undefined);
    await connection.close();
    const line = await eventually(async () => (await installation.violations()).slice(before)[0]);
    expect(line).toContain('Subscription Violation');
  });

  it('whoever has no password, or that of another service', async () => {
    const url = new URL(installation.urlOf('store'));
    url.username = 'identity';
    await expect(connectNats(url.href, 'test')).rejects.toThrow(/Authorization/i);
    await expect(connectNats(`nats://${url.host}`, 'test')).rejects.toThrow(/Authorization/i);
  });
});
