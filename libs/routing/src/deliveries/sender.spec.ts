import { eventually } from '@orrery/core/testing';
import { certificateAuthority } from '@orrery/core/testing/certificates';
import { routing } from '../index.js';
import { POLICIES, type Routed, type RoutedTenant, settled, startRouted } from '../testing/routed.js';
import { startWebhook, status, type Webhook } from '../testing/webhook.js';
import { MAX_RETRYING } from './delivery-queue.js';

const DAY_S = 86_400;

let routed: Routed;
let tenant: RoutedTenant;
let webhook: Webhook;

beforeAll(async () => {
  routed = await startRouted();
});
afterAll(() => routed.stop());
beforeEach(async () => {
  tenant = routed.tenant();
  webhook = await startWebhook();
});
afterEach(() => webhook.close());

const push = (more: object = {}): object => ({
  httpPush: [{ webhookUrl: webhook.url, content: '{{value.n}}', ...more }],
});
/** Numbers that have been pushed. */
const numbers = (): number[] => webhook.pushes.map(({ body }) => Number(body));
const send = (count: number, first = 0, device = 'd'): Promise<unknown> =>
  Promise.all(Array.from({ length: count }, (_, i) => tenant.data(device, { n: first + i })));

/** Answers nothing until it is released, and keeps the connection alive meanwhile. */
function hold(by = webhook): { release(): void } {
  let held = true;
  by.answer = (response) => {
    response.writeHead(200);
    const timer = setInterval(() => {
      if (held) return void response.write(' ');
      clearInterval(timer);
      response.end();
    }, 200);
    response.on('close', () => clearInterval(timer));
  };
  return { release: () => void (held = false) };
}

const count = async (condition: string): Promise<number> => {
  const [row] = await routed.backend.query<{ count: string }>(
    `SELECT count(*) FROM routing.deliveries WHERE tenant_id = $1 AND ${condition}`,
    [tenant.id],
  );
  return Number(row!.count);
};

/** Waits for so many that have failed, and puts them off by a day. Some may have been tried again before. */
async function retriesPutOff(wanted: number): Promise<void> {
  await eventually(async () => {
    await routed.backend.query(
      `UPDATE routing.deliveries SET due = now() + make_interval(secs => $2)
       WHERE tenant_id = $1 AND attempt > 0 AND NOT taken`,
      [tenant.id, DAY_S],
    );
    return (await count(`attempt > 0 AND NOT taken AND due > now() + interval '1 hour'`)) === wanted;
  });
}

it('HPU-014 LIM-026 buffers 10,000 pushes of an account, without those that wait for a retry', async () => {
  const filter = (...deviceIds: string[]): object => ({ dataMessage: { version: 1, filter: { deviceIds } } });
  await tenant.route(push({ retryOnFailure: true }), filter('one', 'failing'));
  await tenant.route(push(), filter('two'));
  const overflows = () => tenant.audited('http').filter(({ type }) => type === 'push_overflow');

  webhook.answer = status(500);
  await send(500, 0, 'failing');
  await retriesPutOff(500);
  webhook.pushes = [];
  const held = hold();
  await send(10, 100_000, 'one');
  await eventually(() => webhook.pushes.length === 10);
  // In two batches of one device each: the oldest of all is that of the first.
  await send(1, 1, 'two');
  await eventually(async () => (await count('attempt = 0 AND NOT taken')) === 1);
  await send(4999, 2, 'one');
  await send(5000, 5001, 'two');
  await eventually(async () => (await count('attempt = 0 AND NOT taken')) === 10_000);
  expect([await count('attempt > 0'), overflows().length]).toEqual([500, 0]);

  await send(1, 10_001, 'one');
  await eventually(() => overflows().length === 1);
  expect(overflows()[0]!.content).toMatchObject({ dropped: 1 });
  expect(await count('attempt = 0 AND NOT taken')).toBe(10_000);
  webhook.answer = status(200);
  held.release();
  await eventually(() => webhook.pushes.length === 10_010, 240_000);
  await eventually(async () => (await count('attempt = 0')) === 0);
  const delivered = numbers().filter((n) => n < 100_000);
  expect(delivered.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 10_000 }, (_, i) => i + 2));
  expect([await count('attempt > 0'), overflows().length]).toEqual([500, 1]);
});

it('HPU-015 has at most 10 requests open, and more than one', async () => {
  await tenant.route(push());
  const held = hold();
  await send(50);
  await eventually(async () => (await count('true')) === 50 && webhook.open === 10);
  held.release();
  await eventually(() => webhook.pushes.length === 50);
  await settled(routed, tenant);
  expect(webhook.mostOpen).toBe(10);
});

it('does not let servers that come to no end hold up other tenants', async () => {
  const dead = await startWebhook();
  const others = Array.from({ length: 5 }, () => routed.tenant());
  hold(dead);
  for (const other of others) await other.route({ httpPush: [{ webhookUrl: dead.url }] });
  for (const other of others) await Promise.all(Array.from({ length: 30 }, () => other.data('d')));
  await eventually(() => dead.open === 50);
  await tenant.route(push());
  await send(20);
  await eventually(() => webhook.pushes.length === 20);
  expect([dead.open, dead.mostOpen]).toEqual([50, 50]);
  await dead.close();
});

it('sends what waited, and no more, when its policy is changed, disabled or deleted', async () => {
  const { id, ...policy } = await tenant.route(push());
  const held = hold();
  await send(10);
  await eventually(() => webhook.pushes.length === 10);
  await send(5, 10);
  await eventually(async () => (await count('NOT taken')) === 5);
  const changed = { ...policy, enabled: false, actions: push({ content: 'changed' }) };
  expect((await tenant.api.put(`${POLICIES}/${id}`, changed)).status).toBe(200);
  webhook.answer = status(200);
  held.release();
  await settled(routed, tenant);
  expect(numbers().toSorted((a, b) => a - b)).toEqual(Array.from({ length: 15 }, (_, i) => i));

  await tenant.api.put(`${POLICIES}/${id}`, { ...policy, actions: push({ content: '7', retryOnFailure: true }) });
  webhook.answer = status(503);
  await send(1);
  await retriesPutOff(1);
  const before = webhook.pushes.length;
  await tenant.api.delete(`${POLICIES}/${id}`);
  await routed.pass(DAY_S);
  await settled(routed, tenant);
  expect([before > 15, webhook.pushes.length]).toEqual([true, before]);
});

it('shares the tenants between instances, and loses nothing when one of them ends', async () => {
  const tenants = Array.from({ length: 12 }, () => routed.tenant());
  for (const each of tenants) await each.route(push());
  const second = await routed.backend.boot([routing], { api: false, worker: true });
  const sendAll = (first: number): Promise<unknown> =>
    Promise.all(
      tenants.flatMap((each, t) => Array.from({ length: 25 }, (_, i) => each.data('d', { n: first + t * 25 + i }))),
    );
  webhook.answer = (response) => void setTimeout(() => response.end(), 20);
  await sendAll(0);
  const sending = sendAll(300);
  await second.close();
  await sending;
  await eventually(() => new Set(numbers()).size === 600);
  for (const each of tenants) await settled(routed, each);
  // Nobody was killed: every request was heard of.
  expect(webhook.pushes).toHaveLength(600);
});

it('sends again, with the same id, what a sender had taken that is gone', async () => {
  await tenant.route(push());
  webhook.answer = (response) => void response.destroy();
  const held = hold();
  await send(12);
  await eventually(() => webhook.pushes.length === 10);
  const ids = webhook.pushes.map(({ headers }) => headers['x-orange-lo-message-id']);
  await routed.backend.query(`UPDATE routing.deliveries SET due = now() WHERE tenant_id = $1`, [tenant.id]);
  webhook.answer = status(200);
  held.release();
  await eventually(() => new Set(numbers()).size === 12);
  await settled(routed, tenant);
  const later = webhook.pushes.slice(10).map(({ headers }) => headers['x-orange-lo-message-id']);
  expect(new Set([...ids, ...later]).size).toBe(12);
  const [queue] = await routed.backend.query<{ waiting: number }>(
    'SELECT waiting FROM routing.delivery_queues WHERE tenant_id = $1',
    [tenant.id],
  );
  expect(queue!.waiting).toBe(0);
});

it('counts what waits and what is tried again exactly, and tries no more again than a disk can hold', async () => {
  const sums = async () => {
    const [row] = await routed.backend.query<{ waiting: number; retrying: number }>(
      'SELECT waiting, retrying FROM routing.delivery_queues WHERE tenant_id = $1',
      [tenant.id],
    );
    return [row!.waiting, row!.retrying];
  };
  await tenant.route(push({ retryOnFailure: true }));
  webhook.answer = status(503);
  await send(20);
  await retriesPutOff(20);
  expect(await sums()).toEqual([0, 20]);
  await routed.backend.query('UPDATE routing.delivery_queues SET retrying = $2 WHERE tenant_id = $1', [
    tenant.id,
    MAX_RETRYING - 5,
  ]);
  await send(20, 20);
  await eventually(() => tenant.audited('http').length === 15);
  await retriesPutOff(25);
  expect(await sums()).toEqual([0, MAX_RETRYING]);
  webhook.answer = status(200);
  await routed.pass(DAY_S);
  await settled(routed, tenant);
  expect(await sums()).toEqual([0, 0]);
});

it('calls no host without an address of IPv4, and says that a host is not known', async () => {
  const literal = await tenant.api.post(POLICIES, {
    enabled: true,
    triggers: { dataMessage: { version: 1 } },
    actions: { httpPush: [{ webhookUrl: 'https://[2001:db8::1]/x' }] },
  });
  expect(literal).toMatchObject({
    status: 400,
    body: { details: [{ field: 'actions.httpPush[0].webhookUrl', expected: 'a host with an IPv4 address' }] },
  });
  await tenant.route({ httpPush: [{ webhookUrl: 'https://nowhere-at-all:8443/x', retryOnFailure: false }] });
  await tenant.data('d');
  const [entry] = await eventually(() => tenant.audited('http').length === 1 && tenant.audited('http'));
  expect(entry!.content!['errorMessage']).toBe('the host nowhere-at-all could not be found');
  await settled(routed, tenant);
});

it('HPU-018 sends nothing to a server whose certificate nobody knows', async () => {
  const unknown = await certificateAuthority('CN=nobody knows');
  const secure = await startWebhook(await unknown.issue('CN=127.0.0.1'));
  await tenant.route({ httpPush: [{ webhookUrl: secure.url, retryOnFailure: true }] });
  await tenant.data('d');
  const [entry] = await eventually(() => tenant.audited('http').length === 1 && tenant.audited('http'));
  expect(entry!.content!['errorMessage']).toMatch(/no secure connection: .*certificate/i);
  expect(secure.pushes).toHaveLength(0);
  await settled(routed, tenant);
  await secure.close();
});
