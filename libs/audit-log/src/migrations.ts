import type { MigrationInterface, QueryRunner } from 'typeorm';

class AuditMessages1700000100000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE messages (
        tenant_id text NOT NULL,
        id text NOT NULL,
        timestamp timestamptz NOT NULL,
        created timestamptz NOT NULL DEFAULT now(),
        -- What is returned, as it was written, without the tenant.
        entry jsonb NOT NULL,
        PRIMARY KEY (tenant_id, id)
      )`);
    // Every search is of one tenant and in the order of time.
    await runner.query('CREATE INDEX messages_time ON messages (tenant_id, timestamp, id)');
    // Retention is over all tenants.
    await runner.query('CREATE INDEX messages_expiry ON messages (timestamp)');
    // Filters on any field, for those that match few messages.
    await runner.query('CREATE INDEX messages_fields ON messages USING gin (entry jsonb_path_ops)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE messages');
  }
}

export const auditMigrations = [AuditMessages1700000100000];
