import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Tables that every service's schema has: positions of its readers, and its outbox. */
class Positions1700000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE positions (
        reader text NOT NULL,
        stream text NOT NULL,
        -- Creation time of the stream: a stream made anew starts from its beginning.
        stream_created text NOT NULL,
        seq bigint NOT NULL,
        epoch bigint NOT NULL,
        -- Highest entry number per origin: {"<origin>": [number, epoch milliseconds]}.
        origins jsonb NOT NULL DEFAULT '{}',
        PRIMARY KEY (reader, stream)
      )`);
    await runner.query(`
      CREATE TABLE outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        subject text NOT NULL,
        header text NOT NULL,
        body text NOT NULL,
        -- Number of the entry that this row belongs to, given before it is first published.
        entry bigint
      )`);
    await runner.query(`CREATE SEQUENCE outbox_entry`);
    await runner.query(
      `CREATE TABLE outbox_relay (id int PRIMARY KEY, origin text NOT NULL, generation text NOT NULL, epoch bigint NOT NULL)`,
    );
    await runner.query(`INSERT INTO outbox_relay VALUES (1, current_schema() || '-' || gen_random_uuid(), '', 0)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE positions, outbox, outbox_relay; DROP SEQUENCE outbox_entry');
  }
}

/** How far the schema is in removing what it has of removed tenants. */
class TenantRemoval1700000000100 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('CREATE TABLE tenant_removal (seq bigint NOT NULL)');
    await runner.query('INSERT INTO tenant_removal VALUES (0)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE tenant_removal');
  }
}

export const coreMigrations = [Positions1700000000000, TenantRemoval1700000000100];
