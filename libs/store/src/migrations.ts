import type { MigrationInterface, QueryRunner } from 'typeorm';

class Messages1700000200000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // One partition per month of arrival, so that retention drops whole tables. The default partition takes what no
    // month was made for in time; it stays empty.
    await runner.query(`
      CREATE TABLE messages (
        tenant_id text COLLATE "C" NOT NULL,
        stream_id text COLLATE "C" NOT NULL,
        timestamp timestamptz NOT NULL,
        id text COLLATE "C" NOT NULL,
        created timestamptz NOT NULL,
        body text NOT NULL,
        PRIMARY KEY (created, id)
      ) PARTITION BY RANGE (created)`);
    await runner.query('CREATE TABLE messages_default PARTITION OF messages DEFAULT');
    // Reading a stream newest first, and continuing after a bookmark, is a walk along this index.
    await runner.query('CREATE INDEX messages_stream ON messages (tenant_id, stream_id, timestamp DESC, id DESC)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE messages');
  }
}

class Causes1700001000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // Id of the data message that a stored event comes from.
    await runner.query('ALTER TABLE messages ADD COLUMN cause text COLLATE "C"');
    // The events of one message; messages themselves are not in it.
    await runner.query('CREATE INDEX messages_cause ON messages (tenant_id, cause) WHERE cause IS NOT NULL');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE messages DROP COLUMN cause');
  }
}

export const migrations = [Messages1700000200000, Causes1700001000000];
