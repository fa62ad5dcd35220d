import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Traces1700001100000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // W3C trace context of the message, where it has one.
    await runner.query('ALTER TABLE deliveries ADD COLUMN traceparent text');
    await runner.query('ALTER TABLE fifo_messages ADD COLUMN traceparent text');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE deliveries DROP COLUMN traceparent');
    await runner.query('ALTER TABLE fifo_messages DROP COLUMN traceparent');
  }
}
