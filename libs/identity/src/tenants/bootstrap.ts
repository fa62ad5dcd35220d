import { PROFILES } from '@orrery/core/auth';
import type { Config } from '@orrery/core/config';
import type { Database } from '@orrery/core/database';
import { LIMITS, type SectionContents, UNLIMITED_CONTENTS } from '@orrery/core/limits';
import { isMailAddress } from '@orrery/core/mail';
import type { EntityManager } from 'typeorm';
import { refreshOffer } from '../bss/offer-refresh.js';
import type { PostCondition, RuleType } from '../bss/rule.entity.js';
import { insertRule } from '../bss/rules.service.js';
import { insertUser } from '../users/new-user.js';
import { checkPassword, generatePassword, hashPassword } from '../users/passwords.js';
import { isLogin } from '../users/user.dto.js';
import { insertTenant } from './new-tenant.js';
import { Tenant } from './tenant.entity.js';

/** Values that a new installation may be given; those that are absent are generated. */
export type BootstrapOptions = Pick<
  Config,
  | 'ORRERY_BOOTSTRAP_API_KEY'
  | 'ORRERY_BOOTSTRAP_VENDOR_API_KEY'
  | 'ORRERY_BOOTSTRAP_ADMIN_API_KEY'
  | 'ORRERY_BOOTSTRAP_LOGIN'
  | 'ORRERY_BOOTSTRAP_PASSWORD'
>;

/** Secrets that were made, readable now and never again; absent when they were made before. */
export interface Bootstrapped {
  /** Master API keys: of the first customer, the first vendor and the administrator. */
  apiKey?: string;
  vendorApiKey?: string;
  adminApiKey?: string;
  /** Of the first user, whose login is ORRERY_BOOTSTRAP_LOGIN. */
  password?: string;
}

/** The first customer. */
const CUSTOMER = 'default';

/**
 * Makes what nothing can be made without: the administrator, the offers, a vendor, and a customer with a user. Run by
 * the migration job at each start; does nothing once there is an administrator. A customer "default" of an earlier
 * version keeps its key and its data.
 * @throws Error that names the variable whose value cannot be used.
 */
export async function bootstrap(database: Database, options: BootstrapOptions): Promise<Bootstrapped> {
  const { ORRERY_BOOTSTRAP_LOGIN: login, ORRERY_BOOTSTRAP_PASSWORD: given } = options;
  if (!isLogin(login))
    throw new Error('ORRERY_BOOTSTRAP_LOGIN: expected 3 to 254 letters, digits, - and _, or an e-mail address');
  if (given !== undefined) usable('ORRERY_BOOTSTRAP_PASSWORD', () => checkPassword(given));
  const keys = [
    options.ORRERY_BOOTSTRAP_API_KEY,
    options.ORRERY_BOOTSTRAP_VENDOR_API_KEY,
    options.ORRERY_BOOTSTRAP_ADMIN_API_KEY,
  ].filter((key) => key !== undefined);
  if (new Set(keys).size < keys.length)
    throw new Error('the variables ORRERY_BOOTSTRAP_…API_KEY must have different values');

  return database.transaction(async (manager) => {
    await manager.query(`SELECT pg_advisory_xact_lock(hashtext('orrery.bootstrap'))`);
    if (await manager.existsBy(Tenant, { accountType: 'ADMIN' })) return {};
    const admin = await insertTenant(manager, {
      name: 'administration',
      accountType: 'ADMIN',
      ...masterKey(options.ORRERY_BOOTSTRAP_ADMIN_API_KEY),
    });
    for (const [displayName, type, contents] of FIRST_RULES)
      await insertFirstRule(manager, displayName, type, contents);
    const vendor = await insertTenant(manager, {
      name: 'vendor',
      accountType: 'VENDOR',
      parentId: admin.tenantId,
      ...masterKey(options.ORRERY_BOOTSTRAP_VENDOR_API_KEY),
    });
    for (const { tenantId } of [admin, vendor]) await subscribeToUnlimited(manager, tenantId);
    const apiKey = await makeCustomer(manager, vendor.tenantId, options.ORRERY_BOOTSTRAP_API_KEY);
    const { id: tenantId } = await manager.findOneByOrFail(Tenant, { name: CUSTOMER });
    const password = given ?? generatePassword();
    await insertUser(manager, {
      tenantId,
      login,
      email: isMailAddress(login) ? login : `${login}@localhost`,
      roles: PROFILES.ADMIN,
      mainUser: true,
      passwordHash: await hashPassword(password),
    });
    return {
      ...(apiKey === undefined ? {} : { apiKey }),
      vendorApiKey: vendor.masterKey,
      adminApiKey: admin.masterKey,
      password,
    };
  });
}

const masterKey = (value: string | undefined): { masterKey?: string } =>
  value === undefined ? {} : { masterKey: value };

/** @returns its master key, unless the customer was there before. */
async function makeCustomer(manager: EntityManager, vendorId: string, key?: string): Promise<string | undefined> {
  const made = (await manager.existsBy(Tenant, { name: CUSTOMER }))
    ? undefined
    : await insertTenant(manager, { name: CUSTOMER, active: false, ...masterKey(key) });
  await manager.update(Tenant, { name: CUSTOMER }, { parentId: vendorId });
  const { id } = await manager.findOneByOrFail(Tenant, { name: CUSTOMER });
  await subscribeToUnlimited(manager, id);
  return made?.masterKey;
}

async function subscribeToUnlimited(manager: EntityManager, tenantId: string): Promise<void> {
  await manager.query(
    `INSERT INTO bss_subscriptions (tenant_id, rule, follows)
     SELECT $1, number, display_name FROM bss_rules WHERE display_name = 'Unlimited'`,
    [tenantId],
  );
  await refreshOffer(manager, await manager.findOneByOrFail(Tenant, { id: tenantId }));
}

/** The manual's defaults: every function, and no other limits than those of chapter 23. */
function standardContents(): SectionContents {
  const sections: SectionContents = {};
  for (const limit of Object.values(LIMITS)) {
    const section = 'setting' in limit ? limit.setting.split('.')[0]! : undefined;
    if (section !== undefined) sections[section] = { enabled: true };
  }
  return { ...sections, http: { rateLimiting: true }, mqtt: { rateLimiting: true } };
}

const FIRST_RULES: Array<[displayName: string, type: RuleType, contents: SectionContents]> = [
  ['Unlimited', 'OFFER', UNLIMITED_CONTENTS],
  ['Standard', 'OFFER', standardContents()],
  ['Disabled', 'OPTION', { account: { enabled: false } }],
];

async function insertFirstRule(
  manager: EntityManager,
  displayName: string,
  type: RuleType,
  contents: SectionContents,
): Promise<void> {
  await insertRule(manager, {
    name: `${displayName} v1`,
    displayName,
    type,
    disabled: false,
    tags: [],
    preConditions: [],
    postConditions: Object.entries(contents).map(([settingSection, value]): PostCondition => ({
      settingSection,
      value,
      action: 'SET',
    })),
  });
}

function usable(variable: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    const [problem] = (error as { details?: Array<{ expected: string }> }).details ?? [];
    throw new Error(`${variable}: expected ${problem?.expected ?? 'another value'}`, { cause: error });
  }
}
