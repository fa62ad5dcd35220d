import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { limitOf, limitsOf, type OfferSettings, type SettingsSection } from '@orrery/core/limits';
import type { RemovedTenant } from '@orrery/core/tenants';
import { IsNull } from 'typeorm';
import { ApiKey } from '../api-keys/api-key.entity.js';
import type { CreatedTenant, NewTenant } from '../contract.js';
import { changing } from './changing.js';
import { checkJson, isObject, isTitle } from './json-object.js';
import { insertTenant } from './new-tenant.js';
import { Tenant } from './tenant.entity.js';

const SECTION = /^[a-zA-Z][a-zA-Z0-9_-]{0,63}$/;
const MAX_SECTIONS = 50;
/** Removed tenants of one answer. */
const PAGE = 500;

/** What a tenant has of itself: its account, and the settings that it keeps section by section. */
export class TenantsService {
  constructor(private readonly database: Database) {}

  /** @throws ApiError NOT_FOUND */
  async get(tenantId: string): Promise<Tenant> {
    const tenant = await this.database.manager.findOneBy(Tenant, { id: tenantId });
    if (!tenant) throw new ApiError('NOT_FOUND');
    return tenant;
  }

  async masterKeyId(tenantId: string): Promise<string> {
    const { manager } = this.database;
    const { id } = await manager.findOneOrFail(ApiKey, {
      select: { id: true },
      where: { tenantId, parentId: IsNull() },
    });
    return id;
  }

  /** Answers `findMasterKey` of the contract. @throws ApiError NOT_FOUND */
  async masterKey(tenantId: string): Promise<{ hash: string }> {
    const where = { tenantId, parentId: IsNull() };
    const key = await this.database.manager.findOne(ApiKey, { select: { hash: true }, where });
    if (!key) throw new ApiError('NOT_FOUND');
    return { hash: key.hash };
  }

  /** Answers `longestKept` of the contract. */
  async longestKept(limit: 'dataDays' | 'searchDays'): Promise<{ days: number | null }> {
    const rows = await this.database.query<{ settings: OfferSettings }>(
      'SELECT DISTINCT offer_settings AS settings FROM tenants',
    );
    const days = Math.max(limitOf(undefined, limit), ...rows.map(({ settings }) => limitOf(limitsOf(settings), limit)));
    return { days: Number.isFinite(days) ? days : null };
  }

  /** Creates the tenant with its master key. @throws ApiError CONFLICT when the name is taken. */
  create(tenant: NewTenant): Promise<CreatedTenant> {
    if (!isTitle(tenant.name)) throw invalidParameter('name', 'a name that no other tenant has');
    return this.database.transaction((manager) => insertTenant(manager, tenant));
  }

  async settings(tenantId: string): Promise<OfferSettings> {
    const sections = await this.database.query<SettingsSection & { section: string }>(
      'SELECT section, content, revision FROM user_settings WHERE tenant_id = $1 ORDER BY section',
      [tenantId],
    );
    return Object.fromEntries(sections.map(({ section, content, revision }) => [section, { content, revision }]));
  }

  /** Replaces the content of one section. @throws ApiError 400; 403 for one section too many */
  setSection(tenantId: string, section: string, content: unknown): Promise<SettingsSection> {
    checkSection(section);
    if (!isObject(content)) throw invalidParameter('body', 'a JSON object, the content of the section');
    checkJson(content, 'body');
    return changing(this.database, tenantId, async (manager) => {
      const [row] = (await manager.query(
        `INSERT INTO user_settings AS s (tenant_id, section, content, revision)
         SELECT $1, $2, $3::jsonb, 1
         WHERE (SELECT count(*) FROM user_settings WHERE tenant_id = $1 AND section <> $2) < $4
         ON CONFLICT (tenant_id, section) DO UPDATE SET content = excluded.content,
           revision = s.revision + CASE WHEN s.content = excluded.content THEN 0 ELSE 1 END
         RETURNING content, revision`,
        [tenantId, section, JSON.stringify(content), MAX_SECTIONS],
      )) as SettingsSection[];
      if (!row) throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', `at most ${MAX_SECTIONS} sections`);
      return row;
    });
  }

  /** @throws ApiError NOT_FOUND */
  async removeSection(tenantId: string, section: string): Promise<void> {
    checkSection(section);
    const { affected } = await this.database.manager
      .createQueryBuilder()
      .delete()
      .from('user_settings')
      .where('tenant_id = :tenantId AND section = :section', { tenantId, section })
      .execute();
    if (!affected) throw new ApiError('NOT_FOUND', `no section "${section}"`);
  }

  /** Tenants that have been removed after this one, the first of them. */
  async removed(after: number): Promise<RemovedTenant[]> {
    const rows = await this.database.query<{ seq: string; id: string; removed: Date }>(
      `SELECT seq, id, removed FROM removed_tenants WHERE seq > $1 ORDER BY seq LIMIT ${PAGE}`,
      [after],
    );
    return rows.map(({ seq, id, removed }) => ({ seq: Number(seq), tenantId: id, removed: removed.getTime() }));
  }
}

function checkSection(section: string): void {
  if (!SECTION.test(section) || section === 'constructor' || section === 'prototype')
    throw invalidParameter('section', 'a letter, then at most 63 letters, digits, - and _');
}
