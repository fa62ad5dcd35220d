import { BatchRunner, type Database } from '@orrery/core/database';

/**
 * Keeps the number of subscriptions beside the FIFO: a FIFO with a TTL of 0 takes messages only while it has some, and
 * a dispatcher that takes a partition over knows by it whether it has to wait for subscriptions to come back.
 */
export class ConsumerCounts {
  private readonly writer: BatchRunner<number, boolean>;

  /** @param count subscriptions that a FIFO has at the moment of writing; undefined when another instance knows them. */
  constructor(database: Database, count: (partition: number, fifoId: number) => number | undefined) {
    this.writer = new BatchRunner(async (fifoIds) => {
      const ids = [...new Set(fifoIds)];
      const existing = await database.transaction(async (manager) => {
        const rows = (await manager.query(
          'SELECT id, partition, message_ttl, consumers FROM fifos WHERE id = ANY($1::int[]) ORDER BY id FOR UPDATE',
          [ids],
        )) as Array<{ id: number; partition: number; message_ttl: number; consumers: number }>;
        const changed = rows
          .map((row) => ({ ...row, now: count(row.partition, row.id) ?? row.consumers }))
          .filter((row) => row.now !== row.consumers);
        if (changed.length > 0)
          await manager.query(
            'UPDATE fifos f SET consumers = v.consumers FROM unnest($1::int[], $2::int[]) AS v(id, consumers) WHERE f.id = v.id',
            [changed.map((row) => row.id), changed.map((row) => row.now)],
          );
        const emptied = changed.filter((row) => row.now === 0 && row.message_ttl === 0).map((row) => row.id);
        if (emptied.length > 0) {
          await manager.query('DELETE FROM fifo_messages WHERE fifo_id = ANY($1::int[])', [emptied]);
          await manager.query('UPDATE fifos SET messages = 0, bytes = 0 WHERE id = ANY($1::int[])', [emptied]);
        }
        return new Set(rows.map((row) => row.id));
      });
      return fifoIds.map((id) => existing.has(id));
    }, 500);
  }

  /** Writes the present number. @returns false when the FIFO does not exist. */
  write(fifoId: number): Promise<boolean> {
    return this.writer.add(fifoId);
  }

  idle(): Promise<void> {
    return this.writer.idle();
  }
}
