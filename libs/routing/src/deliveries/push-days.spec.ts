import { Redis } from 'ioredis';
import { eventually } from '@orrery/core/testing';
import type { ActionPolicyDto } from '../action-policies/action-policy.dto.js';
import { routing } from '../index.js';
import { POLICIES, type Routed, type RoutedTenant, settled, startRouted } from '../testing/routed.js';
import { startWebhook, status, type Webhook } from '../testing/webhook.js';

let routed: Routed;
let tenant: RoutedTenant;
let webhook: Webhook;

beforeAll(async () => {
  routed = await startRouted();
  webhook = await startWebhook();
  tenant = routed.tenant();
});
afterAll(async () => {
  await routed.stop();
  await webhook.close();
});

it('HPU-013 suspends a policy of whose pushes more than 90% fail on 7 consecutive days', async () => {
  // Of 20 pushes: how many fail, and on how many days.
  const cases = { suspended: [19, 7], ninety: [18, 7], six: [19, 6], resumed: [19, 7] } as const;
  const ids: Record<string, string> = {};
  webhook.answer = (response, push) => status(push.path.endsWith('fail') ? 400 : 200)(response, push);
  for (const [name, [failing]] of Object.entries(cases)) {
    const to = (path: string): object => ({ httpPush: [{ webhookUrl: `${webhook.url}/${path}` }] });
    const { body } = await tenant.api.post<ActionPolicyDto>(POLICIES, {
      name,
      enabled: true,
      triggers: { dataMessage: { version: 1, filter: { deviceIds: [name] } } },
      actions: to('fail'),
    });
    ids[name] = body.id;
    for (let i = 0; i < failing; i++) await tenant.data(name);
    await settled(routed, tenant);
    const { id, ...policy } = body;
    await tenant.api.put(`${POLICIES}/${id}`, { ...policy, actions: to('') });
    for (let i = failing; i < 20; i++) await tenant.data(name);
    await settled(routed, tenant);
  }
  const counted = await routed.backend.query<{ policy_id: string; pushes: string; failed: string }>(
    'SELECT policy_id, sum(pushes) AS pushes, sum(failed) AS failed FROM routing.push_days GROUP BY policy_id',
  );
  for (const [name, [failing]] of Object.entries(cases))
    expect(counted.find(({ policy_id }) => policy_id === ids[name])).toMatchObject({
      pushes: '20',
      failed: String(failing),
    });

  // The same has happened on the days before.
  await routed.backend.query(`UPDATE routing.push_days SET day = (now() AT TIME ZONE 'UTC')::date - 1`);
  for (const [name, [, days]] of Object.entries(cases))
    await routed.backend.query(
      `INSERT INTO routing.push_days SELECT tenant_id, policy_id, day - n, pushes, failed
       FROM routing.push_days, generate_series(1, $2::int - 1) n WHERE policy_id = $1`,
      [ids[name], days],
    );
  await routed.backend.query(
    `UPDATE routing.action_policies SET active_since = now() - interval '30 days' WHERE name <> 'resumed'`,
  );
  // A worker looks as soon as it starts, when no other one has said when to look next.
  await routed.platform.close();
  const redis = new Redis(routed.backend.config.REDIS_URL);
  await redis.flushall();
  redis.disconnect();
  await routed.backend.boot([routing], { api: false, worker: true });
  const api = await routed.backend.boot([routing], { api: true, worker: false });
  const policy = async (name: string): Promise<ActionPolicyDto> =>
    (await routed.client(api.url, tenant).get<ActionPolicyDto>(`${POLICIES}/${ids[name]}`)).body;
  await eventually(async () => !(await policy('suspended')).enabled);
  expect((await policy('suspended')).suspension).toBe(
    'More than 90% of its pushes failed on each of 7 consecutive days (95% in all)',
  );
  for (const name of ['ninety', 'six', 'resumed']) expect(await policy(name)).toMatchObject({ name, enabled: true });
  await eventually(() => tenant.audited('http').some(({ type }) => type === 'action_policy_suspended'));
});
