import type { MigrationInterface, QueryRunner } from 'typeorm';
import { embeddedMigrations } from './embedded/index.js';

class Fields1700001000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE fields (
        tenant_id text COLLATE "C" NOT NULL,
        -- As searches name it.
        name text COLLATE "C" NOT NULL,
        type text NOT NULL,
        -- From 0 within the tenant and the type.
        slot int NOT NULL,
        PRIMARY KEY (tenant_id, name)
      )`);
    // Rows of a tenant in fields: tells whether an instance knows all, and is the lock under which they become more.
    await runner.query(`
      CREATE TABLE field_counts (
        tenant_id text COLLATE "C" PRIMARY KEY,
        fields int NOT NULL
      ) WITH (fillfactor = 50)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE fields, field_counts');
  }
}

class Reindexing1700001000100 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE reindexings (
        tenant_id text COLLATE "C" NOT NULL,
        id uuid NOT NULL,
        status text NOT NULL,
        -- Of arrival: from inclusive, to exclusive.
        from_time timestamptz NOT NULL,
        to_time timestamptz NOT NULL,
        -- After the last page that is done; null before the first.
        cursor json,
        read bigint NOT NULL DEFAULT 0,
        indexed bigint NOT NULL DEFAULT 0,
        error text,
        -- Which instance works on it, and until when: afterwards another one goes on.
        holder text,
        leased_until timestamptz,
        created timestamptz NOT NULL DEFAULT now(),
        updated timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id)
      )`);
    // The next one to work on.
    await runner.query(`CREATE INDEX reindexings_running ON reindexings (updated) WHERE status = 'RUNNING'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE reindexings');
  }
}

export const migrations = [Fields1700001000000, Reindexing1700001000100, ...embeddedMigrations];
