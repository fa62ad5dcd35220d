import { randomInt } from 'node:crypto';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import type { Database } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import { limitOf } from '@orrery/core/limits';
import type { EntityManager } from 'typeorm';
import { explainConflicts } from '../conflicts.js';
import { type CreateGroupDto, groupView, type GroupView } from './group.dto.js';
import { Group } from './group.entity.js';

export const ROOT_GROUP = 'root';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const newGroupId = (): string => Array.from({ length: 6 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');

/** Groups of a tenant's devices (manual 8.1). The row of the root group is written when it is first needed. */
export class GroupsService {
  constructor(private readonly database: Database) {}

  /**
   * Finds a group by id, or else by path; neither means the root group.
   * @throws ApiError DM_GROUP_NOT_FOUND
   */
  async find(manager: EntityManager, tenantId: string, by: { id?: string; path?: string } = {}): Promise<Group> {
    const id = by.id ?? (by.path === undefined || by.path === '/' ? ROOT_GROUP : undefined);
    if (id === ROOT_GROUP) await this.ensureRoot(manager, tenantId);
    const group = await manager.findOneBy(Group, { tenantId, ...(id === undefined ? { path: by.path! } : { id }) });
    if (!group) throw new ApiError('DM_GROUP_NOT_FOUND');
    return group;
  }

  async ensureRoot(manager: EntityManager, tenantId: string): Promise<void> {
    await manager.query(
      `INSERT INTO groups (tenant_id, id, path, created, updated) VALUES ($1, $2, '/', $3, $3) ON CONFLICT DO NOTHING`,
      [tenantId, ROOT_GROUP, new Date()],
    );
  }

  async get(tenantId: string, id: string): Promise<GroupView> {
    return groupView(await this.find(this.database.manager, tenantId, { id }));
  }

  async create({ tenantId, limits }: ApiKeyIdentity, body: CreateGroupDto): Promise<GroupView> {
    return explainConflicts(
      this.database.transaction(async (manager) => {
        // One change of a tenant's tree at a time: limits and paths depend on other rows.
        await manager.query(`SELECT pg_advisory_xact_lock(hashtextextended('groups ' || $1, 0))`, [tenantId]);
        const parent = await this.find(manager, tenantId, { id: body.parentId ?? ROOT_GROUP });
        const path = `${parent.path === '/' ? '' : parent.path}/${body.pathNode}`;
        if (await manager.existsBy(Group, { tenantId, path })) throw new ApiError('DM_GROUP_DUPLICATE');
        const levels = limitOf(limits, 'groupLevels');
        if (path.split('/').length - 1 > levels) throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', { levels });
        const groups = limitOf(limits, 'groups');
        if ((await manager.countBy(Group, { tenantId })) > groups)
          throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', { groups });
        let id = newGroupId();
        while (await manager.existsBy(Group, { tenantId, id })) id = newGroupId();
        const now = new Date();
        const group: Group = {
          tenantId,
          id,
          parentId: parent.id,
          pathNode: body.pathNode,
          path,
          description: body.description ?? '',
          created: now,
          updated: now,
        };
        await manager.insert(Group, group);
        return groupView(group);
      }),
    );
  }

  /** Manual 8.1.4: `path` alone, `path/*` with what is below it, and the same with a slash at its end for direct children. */
  async list(
    tenantId: string,
    filter: { parentId?: string; groupPath?: string },
    page: { limit: number; offset: number },
    total: boolean,
  ): Promise<{ items: GroupView[]; total?: number }> {
    const { manager } = this.database;
    await this.ensureRoot(manager, tenantId);
    const query = manager.createQueryBuilder(Group, 'g').where('g.tenant_id = :tenantId', { tenantId });
    const { parentId, groupPath } = filter;
    if (parentId !== undefined) query.andWhere('g.parent_id = :parentId', { parentId });
    if (groupPath?.endsWith('/*/'))
      query.andWhere(
        'g.parent_id = (SELECT p.id FROM groups p WHERE p.tenant_id = :tenantId AND p.path = :parentPath)',
        { parentPath: groupPath.slice(0, -3) || '/' },
      );
    else if (groupPath?.endsWith('/*')) {
      const base = groupPath.slice(0, -2);
      // Beside a parent, only what is strictly below counts; the root itself never does.
      query.andWhere(
        `(starts_with(g.path, :below) AND g.path <> '/'${parentId === undefined ? ' OR g.path = :base' : ''})`,
        { below: `${base}/`, base },
      );
    } else if (groupPath !== undefined) query.andWhere('g.path = :groupPath', { groupPath });
    const groups = await query.clone().orderBy('g.path').limit(page.limit).offset(page.offset).getMany();
    return { items: groups.map(groupView), ...(total ? { total: await query.getCount() } : {}) };
  }
}
