import { randomUUID } from 'node:crypto';
import { type Bus, callRpc } from '@orrery/core/bus';
import { type Database, writeOutbox } from '@orrery/core/database';
import { partitionOf } from '@orrery/core/messages';
import { type PlacedDevice, targetedDevices } from '@orrery/device-manager/contract';
import type { EntityManager } from 'typeorm';
import type { TargetsDto } from './activity-rule.dto.js';
import { ActivityRule } from './activity-rule.entity.js';
import { lockTenant } from './activity-tenants.js';
import { StateEvents } from './state-rows.js';
import { compileTargets, type KnownTarget, replaceTargets, type Target } from './targets.js';

/** Devices that are asked for, and written, at once. */
const PAGE = 1000;

/** Asks for the states of a rule to be compared with the inventory, from the beginning. In the caller's transaction. */
export async function requestSync(
  manager: EntityManager,
  tenantId: string,
  ruleId: string,
  since: Date,
): Promise<void> {
  await manager.query(
    `INSERT INTO activity_syncs (tenant_id, rule_id, generation, since) VALUES ($1, $2, $3, $4)
     ON CONFLICT (tenant_id, rule_id) DO UPDATE SET generation = EXCLUDED.generation, since = EXCLUDED.since, after = '',
       claimed = NULL`,
    [tenantId, ruleId, randomUUID(), since],
  );
}

/** The same for all rules of tenants that target groups: their paths have changed. */
export async function requestGroupSyncs(
  manager: EntityManager,
  tenantIds: readonly string[],
  since: Date,
): Promise<void> {
  await manager.query(
    `INSERT INTO activity_syncs (tenant_id, rule_id, generation, since)
     SELECT tenant_id, id, gen_random_uuid(), $2 FROM activity_rules WHERE tenant_id = ANY($1::text[])
     ORDER BY tenant_id, id
     ON CONFLICT (tenant_id, rule_id) DO UPDATE SET generation = EXCLUDED.generation, after = '', claimed = NULL`,
    [tenantIds, since],
  );
}

/** The same for every rule that is not being compared: whatever has been missed is put right. */
export async function requestAllSyncs(database: Database): Promise<void> {
  await database.query(
    `INSERT INTO activity_syncs (tenant_id, rule_id, generation, since)
     SELECT tenant_id, id, gen_random_uuid(), now() FROM activity_rules ON CONFLICT DO NOTHING`,
  );
}

interface Sync {
  tenant_id: string;
  rule_id: string;
  generation: string;
  since: Date;
  after: string;
}

interface Placed {
  tenant_id: string;
  device_id: string;
  seq: string;
  since: Date;
}

/** Makes the states of rules those of the devices that they target, many devices at a time. */
export class TargetSyncs {
  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
  ) {}

  /** Works until nothing is left that nobody else works on. @throws RpcUnavailableError when nobody knows the devices */
  async run(stopped: () => boolean): Promise<void> {
    while (!stopped() && (await this.placed()));
    for (let sync = await this.claim(); sync && !stopped(); sync = await this.claim()) {
      try {
        while (!stopped() && (await this.page(sync))) while (!stopped() && (await this.placed()));
      } finally {
        // When it is not done, others may go on at once.
        await this.database.query(
          'UPDATE activity_syncs SET claimed = NULL WHERE tenant_id = $1 AND rule_id = $2 AND generation = $3',
          [sync.tenant_id, sync.rule_id, sync.generation],
        );
      }
    }
  }

  /** Devices that something has been heard of. @returns whether there may be more. */
  private async placed(): Promise<boolean> {
    const rows = await this.database.query<Placed>(
      `SELECT tenant_id, device_id, seq, since FROM activity_placed
       WHERE tenant_id = (SELECT tenant_id FROM activity_placed ORDER BY seq LIMIT 1) ORDER BY seq LIMIT ${PAGE}`,
    );
    const tenantId = rows[0]?.tenant_id;
    if (tenantId === undefined) return false;
    const deviceIds = rows.map((row) => row.device_id);
    const read = await this.readInventory(tenantId, { deviceIds, groupPaths: [] });
    const since = new Map(rows.map((row) => [row.device_id, row.since]));
    await this.write(tenantId, read.revision, async (manager) => {
      // Before states are locked, in the order in which the reader locks them.
      await manager.query(
        `WITH locked AS (
           SELECT p.device_id FROM activity_placed p JOIN unnest($2::text[], $3::bigint[]) AS v (device_id, seq)
             ON p.device_id = v.device_id AND p.seq = v.seq
           WHERE p.tenant_id = $1 ORDER BY p.device_id FOR UPDATE OF p)
         DELETE FROM activity_placed p USING locked l WHERE p.tenant_id = $1 AND p.device_id = l.device_id`,
        [tenantId, deviceIds, rows.map(({ seq }) => seq)],
      );
      const rules = await manager.findBy(ActivityRule, { tenantId });
      const tests = rules.map((rule) => ({ rule, isTargeted: compileTargets(rule) }));
      const known = (await manager.query(
        `SELECT ${KNOWN} FROM activity_states WHERE tenant_id = $1 AND device_id = ANY($2::text[])
         ORDER BY device_id, rule_id FOR UPDATE`,
        [tenantId, deviceIds],
      )) as KnownTarget[];
      const targets = read.devices.flatMap((device) =>
        tests
          .filter(({ isTargeted }) => isTargeted(device))
          .map(({ rule }) => this.target(rule, device, since.get(device.deviceId)!)),
      );
      await this.replace(manager, known, targets);
    });
    return true;
  }

  private async claim(): Promise<Sync | undefined> {
    const [sync] = await this.database.query<Sync>(
      `WITH claimed AS (
         UPDATE activity_syncs SET claimed = now() WHERE (tenant_id, rule_id) = (
           SELECT tenant_id, rule_id FROM activity_syncs WHERE claimed IS NULL OR claimed < now() - interval '30 seconds'
           ORDER BY since LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING *)
       SELECT tenant_id, rule_id, generation, since, after FROM claimed`,
    );
    return sync;
  }

  /** The next devices of a rule. @returns whether there may be more. */
  private async page(sync: Sync): Promise<boolean> {
    const { tenant_id: tenantId, rule_id: id } = sync;
    const asked = await this.database.manager.findOneBy(ActivityRule, { tenantId, id });
    const read = await this.readInventory(tenantId, asked?.targets ?? {}, sync.after);
    const more = await this.write(tenantId, read.revision, async (manager) => {
      if (!(await this.isCurrent(manager, sync))) return false;
      const after = await this.compare(manager, sync, read.devices);
      if (after === undefined)
        await manager.query('DELETE FROM activity_syncs WHERE tenant_id = $1 AND rule_id = $2', [tenantId, id]);
      else
        await manager.query(
          'UPDATE activity_syncs SET after = $3, claimed = now() WHERE tenant_id = $1 AND rule_id = $2',
          [tenantId, id, after],
        );
      sync.after = after ?? '';
      return after !== undefined;
    });
    // When the inventory has to be read again, there is more.
    return more ?? true;
  }

  private async isCurrent(manager: EntityManager, sync: Sync): Promise<boolean> {
    const rows = (await manager.query(
      `SELECT 1 FROM activity_syncs WHERE tenant_id = $1 AND rule_id = $2 AND generation = $3 AND after = $4 FOR UPDATE`,
      [sync.tenant_id, sync.rule_id, sync.generation, sync.after],
    )) as unknown[];
    return rows.length > 0;
  }

  /** @returns the device up to which all have been compared; undefined when those were all. */
  private async compare(manager: EntityManager, sync: Sync, found: PlacedDevice[]): Promise<string | undefined> {
    const { tenant_id: tenantId, rule_id: id } = sync;
    let last = found.length === PAGE ? found.at(-1)!.deviceId : undefined;
    const known = (await manager.query(
      `SELECT ${KNOWN} FROM activity_states
       WHERE tenant_id = $1 AND rule_id = $2 AND device_id > $3 AND ($4::text IS NULL OR device_id <= $4)
       ORDER BY device_id LIMIT $5 FOR UPDATE`,
      [tenantId, id, sync.after, last ?? null, PAGE],
    )) as KnownTarget[];
    // More states than devices: those that are left may be many.
    if (known.length === PAGE) last = known.at(-1)!.device_id;
    const rule = await manager.findOneBy(ActivityRule, { tenantId, id });
    const devices = rule ? found.filter(({ deviceId }) => last === undefined || deviceId <= last) : [];
    await this.replace(
      manager,
      known,
      devices.map((device) => this.target(rule!, device, sync.since)),
    );
    return last;
  }

  private async readInventory(
    tenantId: string,
    { deviceIds, groupPaths }: TargetsDto,
    after = '',
  ): Promise<{ revision: string | undefined; devices: PlacedDevice[] }> {
    const [row] = await this.database.query<{ revision: string }>(
      'SELECT revision FROM activity_tenants WHERE tenant_id = $1',
      [tenantId],
    );
    if (!deviceIds?.length && !groupPaths?.length) return { revision: row?.revision, devices: [] };
    const devices = await callRpc(this.bus, targetedDevices, {
      tenantId,
      deviceIds: deviceIds ?? [],
      groupPaths: (groupPaths ?? []).map(({ path, includeSubPath = false }) => ({ path, includeSubPath })),
      after,
      limit: PAGE,
    });
    return { revision: row?.revision, devices };
  }

  /** @returns undefined, with nothing written, when somebody else has written since the inventory was read. */
  private write<Result>(
    tenantId: string,
    revision: string | undefined,
    work: (manager: EntityManager) => Promise<Result>,
  ): Promise<Result | undefined> {
    return this.database.transaction(async (manager) => {
      if ((await lockTenant(manager, tenantId)) !== revision) return undefined;
      await manager.query('UPDATE activity_tenants SET revision = revision + 1 WHERE tenant_id = $1', [tenantId]);
      return work(manager);
    });
  }

  private target(rule: ActivityRule, device: PlacedDevice, since: Date): Target {
    return {
      device,
      rule,
      partition: partitionOf(rule.tenantId, device.deviceId, this.bus.partitions),
      since: new Date(Math.max(since.getTime(), rule.changed.getTime())),
    };
  }

  private async replace(manager: EntityManager, known: KnownTarget[], targets: Target[]): Promise<void> {
    const events = new StateEvents(this.bus.partitions);
    await replaceTargets(manager, events, known, targets);
    await writeOutbox(manager, events.items);
  }
}

const KNOWN = 'tenant_id, rule_id, device_id, rule_version, state';
