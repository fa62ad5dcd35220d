import { Database } from '@orrery/core/database';
import { type ApiClient, apiClient, type Backend, eventually, type TestPlatform } from '@orrery/core/testing';
import { bootstrap, identity } from '../index.js';

export interface TenantBody {
  id: string;
  name: string;
  status: string;
  accountType: string;
  offerSettings: Record<string, { content: Record<string, unknown>; revision: number }>;
  deletionTs?: number;
  code: string;
  details: unknown;
}

export interface RuleBody {
  id: string;
  name: string;
  displayName: string;
  type: string;
  disabled: boolean;
  code: string;
  details: Array<{ field: string; expected: string }>;
}

/** What a new installation has, seen through its doors. */
export interface FirstAccounts {
  admin: ApiClient;
  vendor: ApiClient;
  customer: ApiClient;
  /** Creates a vendor and answers with the key of its master key's holder. */
  newVendor(supportVendorIds?: string[]): Promise<{ id: string; api: ApiClient }>;
  /** Creates a customer of this vendor. */
  newCustomer(of?: ApiClient): Promise<Customer>;
  /** Creates a rule; all that is not given fits. */
  rule(fields?: Record<string, unknown>): Promise<RuleBody>;
}

export interface Customer {
  id: string;
  name: string;
  login: string;
  email: string;
  /** Path of its subscriptions. */
  subscriptions: string;
  /** Subscribes by display name, as its vendor. @returns the status */
  subscribe(displayName: string): Promise<number>;
  read(): Promise<TenantBody>;
  /** A value in its offer settings. */
  setting(section: string, parameter: string): Promise<unknown>;
  /** Calls REST with its master key. */
  master(): Promise<ApiClient>;
}

export const BOOTSTRAP = {
  ORRERY_BOOTSTRAP_API_KEY: 'the-key-of-the-customer',
  ORRERY_BOOTSTRAP_VENDOR_API_KEY: 'the-key-of-the-vendor',
  ORRERY_BOOTSTRAP_ADMIN_API_KEY: 'the-key-of-the-administrator',
  ORRERY_BOOTSTRAP_LOGIN: 'admin',
  ORRERY_BOOTSTRAP_PASSWORD: 'Boot.strap1',
};

let count = 0;

export async function firstAccounts(backend: Backend, platform: TestPlatform): Promise<FirstAccounts> {
  const database = await Database.connect({ url: backend.config.DATABASE_URL, schema: identity.schema!, poolSize: 1 });
  await bootstrap(database, BOOTSTRAP);
  await database.close();
  const as = (key: string): ApiClient => apiClient(platform.url, key);
  const admin = as(BOOTSTRAP.ORRERY_BOOTSTRAP_ADMIN_API_KEY);
  const vendor = as(BOOTSTRAP.ORRERY_BOOTSTRAP_VENDOR_API_KEY);

  // Nobody is told the value of a master key: the test gives it one that it knows.
  async function master(tenantId: string): Promise<ApiClient> {
    const key = `master-${++count}-${tenantId}`;
    await backend.query(
      `UPDATE identity.api_keys SET hash = encode(sha256(convert_to($2, 'UTF8')), 'hex')
       WHERE tenant_id = $1 AND parent_id IS NULL`,
      [tenantId, key],
    );
    return as(key);
  }

  return {
    admin,
    vendor,
    customer: as(BOOTSTRAP.ORRERY_BOOTSTRAP_API_KEY),
    async newVendor(supportVendorIds = []) {
      const name = `vendor ${++count}`;
      const { status, body } = await admin.post<TenantBody>('/api/v1/admin/vendors', {
        name,
        login: `vendor${count}`,
        email: `vendor${count}@example.com`,
        supportVendorIds,
      });
      expect(status).toBe(201);
      return { id: body.id, api: await master(body.id) };
    },
    async newCustomer(of = vendor) {
      const name = `customer ${++count}`;
      const login = `customer${count}`;
      const email = `${login}@example.com`;
      const { status, body } = await of.post<TenantBody>('/api/v1/vendor/customers', { name, login, email });
      expect(status).toBe(201);
      const { id } = body;
      const subscriptions = `/api/v1/vendor/bss/customers/${id}/subscriptions`;
      const read = async (): Promise<TenantBody> => {
        const answer = await of.get<TenantBody>(`/api/v1/vendor/customers/${id}`);
        expect(answer.status).toBe(200);
        return answer.body;
      };
      return {
        id,
        name,
        login,
        email,
        subscriptions,
        read,
        subscribe: async (displayName) =>
          (await of.post(`${subscriptions}?ruleDisplayName=${encodeURIComponent(displayName)}`)).status,
        setting: async (section, parameter) => (await read()).offerSettings[section]?.content[parameter],
        master: () => master(id),
      };
    },
    async rule(fields = {}) {
      const displayName = `rule ${++count}`;
      const { status, body } = await admin.post<RuleBody>('/api/v1/admin/bss/rules', {
        name: `${String(fields['displayName'] ?? displayName)} v${count}`,
        displayName,
        type: 'OPTION',
        ...fields,
      });
      expect([status, body.code]).toEqual([201, undefined]);
      return body;
    },
  };
}

/** Waits until the key is answered so: services hear of changes a moment later. */
export const answers = (api: ApiClient, status: number): Promise<boolean> =>
  eventually(async () => (await api.get('/api/v0/tenants/me')).status === status);
