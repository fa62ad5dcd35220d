import { callRpc } from '@orrery/core/bus';
import { apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import type { ActionPolicyDto } from '../action-policies/action-policy.dto.js';
import { fifoPublish } from '../contract.js';
import { routing } from '../index.js';

const POLICIES = '/api/v1/event2action/actionPolicies';

let backend: Backend;
beforeAll(async () => {
  backend = await startBackend([routing]);
});
afterAll(() => backend.stop());

it('RTE-020 suspends a policy whose FIFO nobody has consumed for 7 days, not for 6', async () => {
  const bus = await backend.bus();
  const key = keyRing(bus).grant('tenant').value;
  const { url } = await backend.boot([routing], { api: true, worker: false });
  const api = apiClient(url, key);
  for (const name of ['six', 'seven', 'resumed', 'empty']) {
    await api.post('/api/v0/topics/fifo', { name });
    await api.post(POLICIES, {
      name,
      enabled: true,
      triggers: { dataMessage: { version: 1 } },
      actions: { fifoPublish: [{ fifoName: name }] },
    });
    if (name !== 'empty') await callRpc(bus, fifoPublish, { tenantId: 'tenant', fifoName: name, body: 'm' });
  }
  const old = (days: number): string => `now() - interval '${days} days' - interval '1 hour'`;
  await backend.query(`UPDATE routing.fifos SET unconsumed_since = ${old(6)} WHERE name = 'six'`);
  await backend.query(`UPDATE routing.fifos SET unconsumed_since = ${old(7)} WHERE name IN ('seven', 'resumed')`);
  await backend.query(`UPDATE routing.action_policies SET active_since = ${old(30)} WHERE name <> 'resumed'`);

  // The worker looks as soon as it starts.
  await backend.boot([routing], { api: false, worker: true });
  const policy = async (name: string): Promise<ActionPolicyDto> =>
    (await api.get<ActionPolicyDto[]>(POLICIES)).body.find((each) => each.name === name)!;
  await eventually(async () => !(await policy('seven')).enabled);
  expect((await policy('seven')).suspension).toBe('The FIFO "seven" has not been consumed for 7 consecutive days');
  for (const name of ['six', 'resumed', 'empty']) expect(await policy(name)).toMatchObject({ enabled: true });
});
