import type { MigrationInterface, QueryRunner } from 'typeorm';

export class FifoExpiry1700001200000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // What expires is found at the head of each FIFO: every message paid for this index for nothing.
    await runner.query('DROP INDEX fifo_messages_expires');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('CREATE INDEX fifo_messages_expires ON fifo_messages (expires)');
  }
}
