import { apiClient, type Backend, eventually, startBackend, type TestPlatform } from '@orrery/core/testing';
import { identity } from '../index.js';
import { type Accounts, accounts } from '../testing/accounts.js';
import { type Mailbox, startMailbox } from '../testing/mailbox.js';

const PATH = '/api/v0/apiKeys';

let mailbox: Mailbox;
let backend: Backend;
let platform: TestPlatform;
let on: Accounts;
beforeAll(async () => {
  mailbox = await startMailbox();
  backend = await startBackend([identity], { SMTP_URL: mailbox.url });
  platform = await backend.boot([identity]);
  on = accounts(platform.url, await backend.bus(), mailbox);
});
afterAll(async () => {
  await backend.stop();
  await mailbox.close();
});

interface KeyBody {
  id: string;
  roles: string[];
  code: string;
  details: unknown;
}

/** Requests that wait for the account until `release`, in the order in which they come. */
async function queue(tenantId: string): Promise<{ joined(count: number): Promise<unknown>; release(): Promise<void> }> {
  await backend.query('BEGIN');
  await backend.query('SELECT FROM identity.tenants WHERE id = $1 FOR UPDATE', [tenantId]);
  return {
    joined: (count) =>
      eventually(async () => {
        const [waiting] = await backend.query<{ count: number }>(
          `SELECT count(*)::int FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        );
        return waiting!.count === count;
      }),
    release: async () => void (await backend.query('COMMIT')),
  };
}

describe('what a key is restrained to', () => {
  it('is refused as a list, which would restrain nothing', async () => {
    const { api, masterKeyId } = await on.open();
    const restrained = await api.post<KeyBody>(PATH, { parentId: masterKeyId, scope: { fifos: ['f1'] } });
    expect(restrained.status).toBe(200);
    for (const scope of [[], [{ fifos: ['f2'] }]])
      for (const path of [PATH, `${PATH}/${restrained.body.id}`]) {
        const { status, body } = await api.post<KeyBody>(path, { parentId: masterKeyId, scope });
        expect([status, body.details]).toEqual([400, [{ field: 'scope', expected: 'an object with fifos' }]]);
      }
  });
});

describe('whoever loses a right', () => {
  it.each(['disabled', 'narrowed'])('cannot leave it in a key while being %s', async (how) => {
    const { api, user, tenantId, masterKeyId } = await on.open();
    const { id, login } = await user({ roles: ['API_KEY_W', 'DATA_W'] });
    const other = await api.post<KeyBody>(PATH, { parentId: masterKeyId, roles: [] });
    const session = apiClient(platform.url, (await on.logIn(login)).body.apiKey.value);
    expect((await session.get('/api/v0/users/me')).status).toBe(200);

    const { joined, release } = await queue(tenantId);
    const change = how === 'disabled' ? { state: 'disabled' } : { roles: ['API_KEY_W'] };
    const taken = api.post(`/api/v0/users/${id}`, change);
    await joined(1);
    const created = session.post<KeyBody>(PATH, { parentId: masterKeyId, roles: ['DATA_W'] });
    await joined(2);
    const widened = session.post<KeyBody>(`${PATH}/${other.body.id}`, { roles: ['DATA_W'] });
    await joined(3);
    await release();

    expect((await taken).status).toBe(200);
    const refused = how === 'disabled' ? 401 : 403;
    expect([(await created).status, (await widened).status]).toEqual([refused, refused]);
    expect((await api.get<KeyBody>(`${PATH}/${other.body.id}`)).body.roles).toEqual([]);
  });
});
