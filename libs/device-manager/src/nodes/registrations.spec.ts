import { type Bus, callRpc } from '@orrery/core/bus';
import { type LimitValues, UNLIMITED_OFFER } from '@orrery/core/limits';
import { decodeEntry } from '@orrery/core/messages';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import { type ResolvedNode, resolveNode } from '../contract.js';
import { deviceManager } from '../index.js';

// Many devices that register themselves at the same time, at two instances of device-manager.

const DEVICES = '/api/v1/deviceMgt/devices';

let backend: Backend;
let bus: Bus;
let api: ApiClient;
const events: Array<{ type: string; deviceId: string }> = [];

const resolve = (
  nodeId: string,
  options: { tenantId?: string; connector?: string; limits?: LimitValues } = {},
): Promise<ResolvedNode> =>
  callRpc(bus, resolveNode, {
    tenantId: 'tenantA',
    connector: 'mqtt',
    nodeId,
    autoRegister: true,
    limits: UNLIMITED_OFFER,
    ...options,
  });

const eventsOf = (deviceId: string): string[] =>
  events.filter((event) => event.deviceId === deviceId).map(({ type }) => type);

const names = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

/** Devices of the tenant, and how many are counted. */
async function inventoryOf(tenantId: string): Promise<{ ids: string[]; counted: number }> {
  const rows = await backend.query<{ id: string }>(
    'SELECT id FROM device_manager.devices WHERE tenant_id = $1 ORDER BY id',
    [tenantId],
  );
  const [count] = await backend.query<{ devices: string }>(
    'SELECT devices FROM device_manager.device_counts WHERE tenant_id = $1',
    [tenantId],
  );
  return { ids: rows.map(({ id }) => id), counted: Number(count?.devices ?? 0) };
}

beforeAll(async () => {
  backend = await startBackend([deviceManager]);
  bus = await backend.bus();
  const keys = keyRing(bus);
  bus.connection.subscribe('events.*', {
    callback: (_error, message) => {
      for (const { body } of decodeEntry(message.data)) events.push(JSON.parse(body) as (typeof events)[number]);
    },
  });
  const { url } = await backend.boot([deviceManager]);
  await backend.boot([deviceManager]);
  api = apiClient(url, keys.grant('tenantA', { limits: UNLIMITED_OFFER }).value);
});
afterAll(() => backend.stop());

describe('registrations at once', () => {
  it('refuses the bad ones among many good ones, each with its own error', async () => {
    const full = 'urn:lo:nsid:many:full';
    const interfaces = Array.from({ length: 5 }, (_, i) => ({ connector: 'mqtt', definition: { clientId: `mf${i}` } }));
    await api.post(DEVICES, { id: full, interfaces });
    await api.post(DEVICES, { id: 'urn:lo:nsid:many:bare' });
    const good = names('good', 120);
    const [answers, refusals] = await Promise.all([
      Promise.all([...good, 'urn:lo:nsid:many:bare', 'mf3'].map((nodeId) => resolve(nodeId))),
      Promise.all(
        [
          resolve('a b'),
          resolve(full),
          // Only the database knows that it takes no such text.
          resolve('unspeakable', { tenantId: 'tenant\u0000' }),
          resolve('one-too-many', { tenantId: 'none', limits: { devices: 0 } }),
        ].map((refused) => refused.then(String, (error: { code: string }) => error.code)),
      ),
    ]);
    expect(answers.map(({ device }) => device.deviceId)).toEqual([
      ...good.map((nodeId) => `urn:lo:nsid:mqtt:${nodeId}`),
      'urn:lo:nsid:many:bare',
      full,
    ]);
    expect(refusals).toEqual([
      'GENERIC_INVALID_PARAMETER_ERROR',
      'GENERIC_INVALID_PARAMETER_ERROR',
      'INTERNAL_ERROR',
      'GENERIC_QUOTA_EXCEEDED_ERROR',
    ]);
    const { ids, counted } = await inventoryOf('tenantA');
    expect(counted).toBe(ids.length);
    expect(await inventoryOf('none')).toEqual({ ids: [], counted: 0 });
    await eventually(() => good.every((nodeId) => eventsOf(`urn:lo:nsid:mqtt:${nodeId}`).length >= 2));
    for (const nodeId of good)
      expect(eventsOf(`urn:lo:nsid:mqtt:${nodeId}`)).toEqual(['deviceCreated', 'devicePlaced']);
  });

  it('registers as many as the offer has devices, and not one more', async () => {
    const options = { tenantId: 'few', limits: { devices: 37 } };
    const other = { tenantId: 'beside', limits: { devices: 1000 } };
    const [few, beside] = await Promise.all([
      Promise.allSettled(names('few', 100).map((nodeId) => resolve(nodeId, options))),
      Promise.allSettled(names('beside', 60).map((nodeId) => resolve(nodeId, other))),
    ]);
    const registered = few.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value.device.deviceId] : []));
    expect(registered).toHaveLength(37);
    for (const answer of few)
      if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'GENERIC_QUOTA_EXCEEDED_ERROR' });
    expect(await inventoryOf('few')).toEqual({ ids: registered.sort(), counted: 37 });
    expect(beside.filter(({ status }) => status === 'fulfilled')).toHaveLength(60);
    // Room for one more is found again, and an event tells of those that stayed alone.
    await expect(resolve('late', options)).rejects.toMatchObject({ code: 'GENERIC_QUOTA_EXCEEDED_ERROR' });
    await resolve('late', { ...options, limits: { devices: 38 } });
    await eventually(() => eventsOf('urn:lo:nsid:mqtt:late').length === 2);
    const told = events.filter(({ type, deviceId }) => type === 'deviceCreated' && deviceId.includes(':few'));
    expect(told.map(({ deviceId }) => deviceId).sort()).toEqual(registered);
  });

  it('makes one device of nodes that two connectors bring at once', async () => {
    const shared = names('shared', 30);
    const answers = await Promise.all(
      shared.flatMap((nodeId) => [
        resolve(nodeId, { connector: 'x-connector' }),
        resolve(`urn:lo:nsid:x-connector:${nodeId}`),
        resolve(nodeId, { connector: 'x-connector' }),
      ]),
    );
    expect(new Set(answers.map(({ device }) => device.deviceId)).size).toBe(30);
    const { body } = await api.get<{ interfaces: object[] }>(`${DEVICES}/urn:lo:nsid:x-connector:shared7`);
    expect(body.interfaces).toHaveLength(2);
    await resolve('after-shared');
    await eventually(() => eventsOf('urn:lo:nsid:mqtt:after-shared').length === 2);
    await eventually(() => shared.every((nodeId) => eventsOf(`urn:lo:nsid:x-connector:${nodeId}`).length >= 2));
    for (const nodeId of shared)
      expect(eventsOf(`urn:lo:nsid:x-connector:${nodeId}`)).toEqual(['deviceCreated', 'devicePlaced']);
    const { ids, counted } = await inventoryOf('tenantA');
    expect(counted).toBe(ids.length);
  });

  it('leaves nothing of those whose transaction is lost, and registers them when they come again', async () => {
    const lost = names('lost', 50);
    const attempt = (): Promise<Array<PromiseSettledResult<ResolvedNode>>> =>
      Promise.allSettled(lost.map((nodeId) => resolve(nodeId, { tenantId: 'lost' })));
    // Its devices are written then, and it waits for room in the table of counts.
    await backend.query('BEGIN');
    await backend.query('LOCK TABLE device_manager.device_counts IN SHARE MODE');
    const first = attempt();
    // As the process of device-manager is killed, its connections end.
    await eventually(async () => {
      // It would see the same all along, within a transaction.
      await backend.query('SELECT pg_stat_clear_snapshot()');
      const ended = await backend.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
           AND query LIKE 'INSERT INTO device_counts%'`,
      );
      return ended.length > 0;
    }).finally(() => backend.query('ROLLBACK'));
    expect((await first).some(({ status }) => status === 'rejected')).toBe(true);
    const between = await inventoryOf('lost');
    expect(between.counted).toBe(between.ids.length);
    expect((await attempt()).filter(({ status }) => status === 'fulfilled')).toHaveLength(50);
    const after = await inventoryOf('lost');
    expect(after).toEqual({ ids: lost.map((nodeId) => `urn:lo:nsid:mqtt:${nodeId}`).sort(), counted: 50 });
    await eventually(() => lost.every((nodeId) => eventsOf(`urn:lo:nsid:mqtt:${nodeId}`).length >= 2));
    for (const nodeId of lost)
      expect(eventsOf(`urn:lo:nsid:mqtt:${nodeId}`)).toEqual(['deviceCreated', 'devicePlaced']);
  });

  it('tells the planner of the first hundreds of devices, whose foreign keys it would check one by all otherwise', async () => {
    await Promise.all(names('more', 450).map((nodeId) => resolve(nodeId, { tenantId: 'more' })));
    await eventually(async () => {
      const [table] = await backend.query<{ reltuples: number }>(
        `SELECT reltuples FROM pg_class WHERE oid = 'device_manager.devices'::regclass`,
      );
      return table!.reltuples >= 200;
    });
  });
});
