import type { MigrationInterface, QueryRunner } from 'typeorm';

export class NodeStatuses1700000140000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // `StatusSequence`. Null until an external connector numbers what it tells of the node.
    await runner.query('ALTER TABLE interfaces ADD COLUMN status_sequence jsonb');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE interfaces DROP COLUMN status_sequence');
  }
}
