import { type Bus, type PartitionedStream, streamName } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { ACTIVITY_READER } from '../contract.js';
import { quietUntil, TOLERANCE_MS } from './activity-state.js';
import { delaysOf, STATE_COLUMNS, stateOf, type StateRow, writeStates } from './state-rows.js';

/** States of one transaction. */
const BATCH = 500;
const READ: readonly PartitionedStream[] = ['READY', 'EVENTS'];

/** How far the streams of a partition were at a time. */
interface Mark {
  time: number;
  last: Map<string, number>;
}

/**
 * Sends what is due. Any number of instances do it at once: each takes rows that no other has. A device is quiet only
 * until what has been read of it: after a pause of the platform, its messages are heard first.
 */
export class ActivityTimers {
  private readonly marks = new Map<number, Mark>();
  /** Until when all that the bus had of a partition has been read, epoch milliseconds. */
  private readonly read = new Map<number, number>();

  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
  ) {}

  async run(stopped: () => boolean): Promise<void> {
    const due = await this.duePartitions();
    if (due.length === 0) return;
    await this.look(due);
    for (const partition of due) {
      const until = this.read.get(partition);
      while (until !== undefined && !stopped() && (await this.sendDue(partition, until)) === BATCH);
    }
  }

  private async duePartitions(): Promise<number[]> {
    const rows = await this.database.query<{ partition: number }>(
      `SELECT p AS partition FROM generate_series(0, $1::integer - 1) p
       WHERE EXISTS (SELECT FROM activity_states s WHERE s.partition = p AND s.next_alarm <= $2)`,
      [this.bus.partitions, this.dueBefore(Date.now())],
    );
    return rows.map(({ partition }) => partition);
  }

  /** Finds out how far reading is: at the latest the run after the next one knows a later time. */
  private async look(partitions: readonly number[]): Promise<void> {
    for (const partition of partitions) {
      if (this.marks.has(partition)) continue;
      const time = Date.now();
      const last = new Map<string, number>();
      for (const stream of READ) {
        const name = streamName(stream, partition);
        last.set(name, (await this.bus.jsm.streams.info(name)).state.last_seq);
      }
      this.marks.set(partition, { time, last });
    }
    const rows = await this.database.query<{ stream: string; seq: string }>(
      'SELECT stream, seq FROM positions WHERE reader = $1',
      [ACTIVITY_READER],
    );
    const positions = new Map(rows.map(({ stream, seq }) => [stream, Number(seq)]));
    for (const [partition, { time, last }] of this.marks) {
      if ([...last].some(([stream, seq]) => (positions.get(stream) ?? 0) < seq)) continue;
      this.read.set(partition, time);
      this.marks.delete(partition);
    }
  }

  private dueBefore(time: number): string {
    return new Date(time - TOLERANCE_MS).toISOString();
  }

  /** @returns how many states were looked at. */
  private sendDue(partition: number, until: number): Promise<number> {
    return this.database.transaction(async (manager) => {
      const rows = (await manager.query(
        `SELECT ${STATE_COLUMNS}
         FROM activity_states s JOIN activity_rules r ON r.tenant_id = s.tenant_id AND r.id = s.rule_id
         WHERE s.partition = $1 AND s.next_alarm <= $2 AND s.rule_version <= r.version
         ORDER BY s.next_alarm LIMIT ${BATCH} FOR UPDATE OF s SKIP LOCKED`,
        [partition, this.dueBefore(until)],
      )) as StateRow[];
      await writeStates(
        manager,
        this.bus.partitions,
        rows.map((row) => {
          const { next, alarms } = row.enabled
            ? quietUntil(stateOf(row), delaysOf(row), until)
            : { next: { ...stateOf(row), nextAlarm: null }, alarms: [] };
          return { row, next, alarms };
        }),
      );
      return rows.length;
    });
  }
}
