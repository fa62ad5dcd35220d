import { Database } from '@orrery/core/database';
import { eventually } from '@orrery/core/testing';
import { POLICIES, type Routed, type RoutedTenant, settled, startRouted } from '../testing/routed.js';
import { startWebhook, status, type Webhook } from '../testing/webhook.js';
import { forgetAttempts } from './attempts.js';

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

interface Remembered {
  outcome: string;
  attempt: number;
  told: string | null;
  policy_id: string | null;
}
const remembered = (): Promise<Remembered[]> =>
  routed.backend.query<Remembered>(
    'SELECT outcome, attempt, told, policy_id FROM routing.delivery_attempts WHERE tenant_id = $1 ORDER BY seq',
    [tenant.id],
  );

describe('attempts of deliveries', () => {
  it('are remembered one by one, also that the policy went meanwhile', async () => {
    webhook.answer = status(503);
    const { id } = await tenant.route({ httpPush: [{ webhookUrl: webhook.url, retryOnFailure: true }] });
    await tenant.data('s');
    await eventually(async () => (await remembered()).length === 1);
    await tenant.api.delete(`${POLICIES}/${id}`);
    await routed.pass(10);
    await settled(routed, tenant);
    expect(await remembered()).toEqual([
      { outcome: 'retrying', attempt: 1, told: expect.stringContaining('503'), policy_id: id },
      { outcome: 'failed', attempt: 2, told: expect.stringContaining('deleted'), policy_id: null },
    ]);
  });

  it('are not remembered of events that are not stored', async () => {
    await tenant.route({ httpPush: [{ webhookUrl: webhook.url }] }, { deviceCreated: { version: 1 } });
    await tenant.event('deviceCreated', { deviceId: 'd' });
    await eventually(() => webhook.pushes.length === 1);
    await settled(routed, tenant);
    expect(await remembered()).toEqual([]);
  });

  it('are forgotten after a week, and when there are too many', async () => {
    const { config, query } = routed.backend;
    const database = await Database.connect({
      url: config.DATABASE_URL,
      schema: { name: 'routing', entities: [], migrations: [] },
      poolSize: 1,
    });
    const insert = (more: string, values: string): Promise<unknown> =>
      query(
        `INSERT INTO routing.delivery_attempts (tenant_id, stored_id, message_id, kind, attempt, outcome, ${more})
         OVERRIDING SYSTEM VALUE VALUES ($1, 'm', gen_random_uuid(), 'httpPush', ${values})`,
        [tenant.id],
      );
    try {
      await insert('at', `1, 'done', now() - interval '8 days'`);
      await insert('at', `2, 'done', now() - interval '6 days'`);
      await forgetAttempts(database);
      expect((await remembered()).map(({ attempt }) => attempt)).toEqual([2]);
      await insert('seq', `3, 'done', 3000000`);
      await forgetAttempts(database);
      expect((await remembered()).map(({ attempt }) => attempt)).toEqual([3]);
    } finally {
      await database.close();
    }
  });
});
