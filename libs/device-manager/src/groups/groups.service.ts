import { randomInt } from 'node:crypto';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { controlSubject } from '@orrery/core/bus';
import { type Database, type OutboxItem, writeOutbox } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { limitOf, type LimitValues } from '@orrery/core/limits';
import type { EntityManager } from 'typeorm';
import { explainConflicts } from '../conflicts.js';
import { GROUP_CONTROL, type GroupChange } from '../contract.js';
import { Device } from '../devices/device.entity.js';
import { groupsMovedEvent } from '../events/device-events.js';
import { type CreateGroupDto, groupView, type GroupView, type UpdateGroupDto } from './group.dto.js';
import { Group } from './group.entity.js';

export const ROOT_GROUP = 'root';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const newGroupId = (): string => Array.from({ length: 6 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');

const levelsOf = (path: string): number => (path === '/' ? 0 : path.split('/').length - 1);

const changeOfGroups = (tenantId: string): OutboxItem => ({
  subject: controlSubject(GROUP_CONTROL),
  header: JSON.stringify({ tenantId } satisfies GroupChange),
  body: '{}',
});

/** Groups of a tenant's devices (manual 8.1). The row of the root group is written when it is first needed. */
export class GroupsService {
  constructor(
    private readonly database: Database,
    private readonly partitions: number,
  ) {}

  /**
   * Finds a group by id, or else by path; neither means the root group.
   * @throws ApiError DM_GROUP_NOT_FOUND
   */
  async find(manager: EntityManager, tenantId: string, by: { id?: string; path?: string } = {}): Promise<Group> {
    const id = by.id ?? (by.path === undefined || by.path === '/' ? ROOT_GROUP : undefined);
    if (id === ROOT_GROUP) await ensureRoots(manager, [tenantId]);
    const group = await manager.findOneBy(Group, { tenantId, ...(id === undefined ? { path: by.path! } : { id }) });
    if (!group) throw new ApiError('DM_GROUP_NOT_FOUND');
    return group;
  }

  async get(tenantId: string, id: string): Promise<GroupView> {
    return groupView(await this.findById(this.database.manager, tenantId, id));
  }

  async create({ tenantId, limits }: ApiKeyIdentity, body: CreateGroupDto): Promise<GroupView> {
    return this.changeTree(tenantId, async (manager) => {
      const parent = await this.findById(manager, tenantId, body.parentId ?? ROOT_GROUP);
      const path = await this.freePath(manager, parent, body.pathNode);
      checkLevels(limits, levelsOf(path));
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
    });
  }

  /** Renames a group or moves it with all that is below it (manual 8.1.3): its devices keep its id, and show its new path. */
  async update({ tenantId, limits }: ApiKeyIdentity, id: string, body: UpdateGroupDto): Promise<GroupView> {
    return this.changeTree(tenantId, async (manager) => {
      const group = await this.findById(manager, tenantId, id);
      if (group.parentId === null)
        throw new ApiError('GENERIC_ACTION_FORBIDDEN_ERROR', 'the root group cannot be changed');
      const parent = await this.findById(manager, tenantId, body.parentId ?? ROOT_GROUP);
      const before = group.path;
      if (parent.path === before || parent.path.startsWith(`${before}/`))
        throw invalidParameter('parentId', 'a group that is neither the group itself nor below it');
      group.parentId = parent.id;
      group.pathNode = body.pathNode ?? group.pathNode!;
      group.path = await this.freePath(manager, parent, group.pathNode, group.id);
      group.description = body.description ?? group.description;
      group.updated = new Date();
      await manager.update(Group, { tenantId, id }, group);
      if (group.path !== before) await this.moveBelow(manager, group, before, limits);
      return groupView(group);
    });
  }

  /** @throws ApiError DM_GROUP_UNDELETABLE for the root group, and for a group that holds devices or groups */
  async delete(tenantId: string, id: string): Promise<void> {
    await this.changeTree(tenantId, async (manager) => {
      const group = await this.findById(manager, tenantId, id);
      if (group.parentId === null) throw new ApiError('DM_GROUP_UNDELETABLE');
      // Devices that are put into it at this moment hold its row, or wait for the lock and find no group.
      await manager.query('SELECT 1 FROM groups WHERE tenant_id = $1 AND id = $2 FOR UPDATE', [tenantId, id]);
      if (
        (await manager.existsBy(Group, { tenantId, parentId: id })) ||
        (await manager.existsBy(Device, { tenantId, groupId: id }))
      )
        throw new ApiError('DM_GROUP_UNDELETABLE');
      await manager.delete(Group, { tenantId, id });
    });
  }

  /** One change of a tenant's tree at a time: limits, paths and what is below what depend on other rows. */
  private changeTree<Result>(tenantId: string, work: (manager: EntityManager) => Promise<Result>): Promise<Result> {
    return explainConflicts(
      this.database.transaction(async (manager) => {
        await manager.query(`SELECT pg_advisory_xact_lock(hashtextextended('groups ' || $1, 0))`, [tenantId]);
        return work(manager);
      }),
    );
  }

  private findById(manager: EntityManager, tenantId: string, id: string): Promise<Group> {
    if (!/^\w{1,64}$/.test(id)) throw new ApiError('DM_GROUP_NOT_FOUND');
    return this.find(manager, tenantId, { id });
  }

  /** @param own id of the group that may have the path already. @throws ApiError DM_GROUP_DUPLICATE */
  private async freePath(manager: EntityManager, parent: Group, pathNode: string, own?: string): Promise<string> {
    const { tenantId } = parent;
    const there = await manager.findOneBy(Group, { tenantId, parentId: parent.id, pathNode });
    if (there && there.id !== own) throw new ApiError('DM_GROUP_DUPLICATE');
    return `${parent.path === '/' ? '' : parent.path}/${pathNode}`;
  }

  private async moveBelow(manager: EntityManager, group: Group, before: string, limits: LimitValues): Promise<void> {
    const moved = (await manager.query(
      `WITH moved AS (
         UPDATE groups SET path = $2 || substr(path, length($3) + 1)
         WHERE tenant_id = $1 AND starts_with(path, $3 || '/') RETURNING path)
       SELECT path FROM moved`,
      [group.tenantId, group.path, before],
    )) as Array<{ path: string }>;
    checkLevels(limits, Math.max(levelsOf(group.path), ...moved.map(({ path }) => levelsOf(path))));
    await writeOutbox(manager, [
      changeOfGroups(group.tenantId),
      groupsMovedEvent(this.partitions, group.tenantId, group.updated),
    ]);
  }

  /** Manual 8.1.4: `path` alone, `path/*` with what is below it, and the same with a slash at its end for direct children. */
  async list(
    tenantId: string,
    filter: { parentId?: string; groupPath?: string },
    page: { limit: number; offset: number },
    total: boolean,
  ): Promise<{ items: GroupView[]; total?: number }> {
    const { manager } = this.database;
    await ensureRoots(manager, [tenantId]);
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

/** @throws ApiError GENERIC_QUOTA_EXCEEDED_ERROR (manual 23.3) */
function checkLevels(limits: LimitValues, count: number): void {
  const levels = limitOf(limits, 'groupLevels');
  if (count > levels) throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', { levels });
}

/** The root group of each tenant is there from its first use on. */
export async function ensureRoots(manager: EntityManager, tenantIds: string[]): Promise<void> {
  await manager.query(
    `INSERT INTO groups (tenant_id, id, path, created, updated)
     SELECT tenant_id, $2, '/', $3, $3 FROM unnest($1::text[]) AS k(tenant_id) ON CONFLICT DO NOTHING`,
    [tenantIds, ROOT_GROUP, new Date()],
  );
}
