import type { Database } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import { touch } from '../versions.js';
import type { EntryDocument } from './context-document.js';
import { ContextEntry, type ContextKind } from './context-entry.entity.js';

const NAMES: Record<ContextKind, { name: string; keyField: string }> = {
  context: { name: 'context', keyField: 'contextKey' },
  geozone: { name: 'geozone', keyField: 'zoneId' },
};

/** The contexts, or the geozones, as their tenant provisions them (manual 17.2.1 and 17.2.2). */
export class ContextsService<Dto extends object> {
  constructor(
    private readonly database: Database,
    private readonly kind: ContextKind,
  ) {}

  /** In the order of their keys. @param tags only those that hold all of these. */
  async list(
    tenantId: string,
    { size, page }: { size: number; page: number },
    tags: readonly string[] = [],
  ): Promise<Dto[]> {
    const entries = await this.database.manager
      .createQueryBuilder(ContextEntry, 'e')
      .where('e.tenantId = :tenantId AND e.kind = :kind AND e.document IS NOT NULL AND e.tags @> :tags', {
        tenantId,
        kind: this.kind,
        tags,
      })
      .orderBy('e.key')
      .take(size)
      .skip(size * page)
      .getMany();
    return entries.map((entry) => this.toDto(entry.key, entry.document));
  }

  async get(tenantId: string, key: string): Promise<Dto> {
    const entry = await this.database.manager.findOneBy(ContextEntry, { tenantId, kind: this.kind, key });
    if (!entry?.document) throw this.unknown(key);
    return this.toDto(key, entry.document);
  }

  /** Creates or replaces the entry. Rules see it from the next message on. */
  async put(tenantId: string, key: string, { document, tags }: EntryDocument): Promise<Dto> {
    await this.database.transaction(async (manager) => {
      const version = await touch(manager, tenantId, 'context');
      await manager.upsert(
        ContextEntry,
        { tenantId, kind: this.kind, key, document: document as object, tags, version, updated: new Date() },
        ['tenantId', 'kind', 'key'],
      );
    });
    return this.toDto(key, document);
  }

  async delete(tenantId: string, key: string): Promise<void> {
    if ((await this.remove(tenantId, key)) === 0) throw this.unknown(key);
  }

  /** @returns how many there were. */
  deleteAll(tenantId: string): Promise<number> {
    return this.remove(tenantId);
  }

  private remove(tenantId: string, key?: string): Promise<number> {
    return this.database.transaction(async (manager) => {
      const version = await touch(manager, tenantId, 'context');
      const [, removed] = (await manager.query(
        `UPDATE context_entries SET document = NULL, tags = '{}', version = $3, updated = now()
         WHERE tenant_id = $1 AND kind = $2 AND document IS NOT NULL AND ($4::text IS NULL OR key = $4)`,
        [tenantId, this.kind, version, key ?? null],
      )) as [unknown, number];
      return removed;
    });
  }

  private toDto(key: string, document: Record<string, unknown> | null): Dto {
    return { [NAMES[this.kind].keyField]: key, ...document } as Dto;
  }

  private unknown(key: string): ApiError {
    return new ApiError('NOT_FOUND', `no ${NAMES[this.kind].name} ${key}`);
  }
}
