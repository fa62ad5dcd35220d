import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Role } from '@orrery/core/auth';
import { type ApiClient, apiClient, eventually } from '@orrery/core/testing';
import type { EndToEnd } from './platform.js';

/** A customer as its people know it: made by a vendor, activated by mail, logged in. */
export interface Customer {
  tenantId: string;
  login: string;
  password: string;
  /** Calls with the key of the main user's login. */
  session: ApiClient;
  /** Calls with a key that holds all roles. */
  api: ApiClient;
  apiKey: string;
  createKey(creation?: {
    roles?: readonly Role[];
    scope?: { fifos: string[] };
  }): Promise<{ id: string; value: string }>;
}

const PASSWORD = 'Or-rery1';

/** Creates a customer of this vendor as manual 21.4 describes it, with the offer of this display name. */
export async function createCustomer(
  e2e: EndToEnd,
  vendor: ApiClient,
  name: string,
  offer = 'Unlimited',
): Promise<Customer> {
  const url = e2e.platform.httpUrl;
  const login = `${name}-admin`;
  const email = `${login}@example.com`;
  const created = await vendor.post<{ id: string }>('/api/v1/vendor/customers', { name, login, email });
  if (created.status !== 201) throw new Error(`customer ${name}: ${JSON.stringify(created.body)}`);
  const tenantId = created.body.id;
  const subscribed = await vendor.post(
    `/api/v1/vendor/bss/customers/${tenantId}/subscriptions?ruleDisplayName=${encodeURIComponent(offer)}`,
  );
  if (subscribed.status !== 201) throw new Error(`offer ${offer}: ${JSON.stringify(subscribed.body)}`);

  const { apiKey: sessionKey, parentId, roles: all } = await logIn(e2e, login, email);
  const session = apiClient(url, sessionKey);
  const createKey: Customer['createKey'] = async ({ roles = all, ...rest } = {}) => {
    const answer = await session.post<{ id: string; value: string }>('/api/v0/apiKeys', {
      parentId,
      label: 'key of a test',
      roles,
      ...rest,
    });
    if (answer.status !== 200) throw new Error(`key of ${name}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const { value: apiKey } = await createKey();
  return { tenantId, login, password: PASSWORD, session, api: apiClient(url, apiKey), apiKey, createKey };
}

/** Chooses the password with the token of the activation mail, and logs in. */
export async function logIn(
  e2e: EndToEnd,
  login: string,
  email: string,
): Promise<{ apiKey: string; parentId: string; roles: Role[] }> {
  const nobody = apiClient(e2e.platform.httpUrl);
  const tokenId = await eventually(() => mailedToken(e2e, email));
  const set = await nobody.post('/api/v0/setpwd', { tokenId, password: PASSWORD });
  if (set.status !== 200) throw new Error(`password of ${login}: ${JSON.stringify(set.body)}`);
  const { status, body } = await nobody.post<{ apiKey: { value: string; parentId: string; roles: Role[] } }>(
    '/api/v0/auth',
    { login, password: PASSWORD },
  );
  if (status !== 200) throw new Error(`login of ${login}: ${JSON.stringify(body)}`);
  const { value: apiKey, parentId, roles } = body.apiKey;
  return { apiKey, parentId, roles };
}

/** The token of the latest mail to this address: without SMTP server, mails are files in the data directory. */
export async function mailedToken(e2e: EndToEnd, email: string): Promise<string | undefined> {
  const folder = join(dirname(dirname(e2e.platform.caFile)), 'mail');
  const files = await readdir(folder).catch(() => []);
  for (const file of files.toSorted().toReversed()) {
    const text = (await readFile(join(folder, file), 'utf8')).replaceAll(/=\r?\n/g, '');
    if (text.includes(`To: ${email}`)) return /"tokenId": "([^"]+)"/.exec(text)?.[1];
  }
  return undefined;
}
