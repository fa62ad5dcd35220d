import type { MigrationInterface, QueryRunner } from 'typeorm';
import { Activity1700001060000 } from './activity/activity.migration.js';

class Rules1700001030000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE rules (
        tenant_id text NOT NULL,
        kind text NOT NULL,
        id uuid NOT NULL,
        name text,
        enabled boolean NOT NULL,
        -- json keeps the order of fields, so that logic is returned as it was given.
        definition json NOT NULL,
        created timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, kind, id)
      )`);
    // Names are unique among the rules of a kind; rules without a name are not compared.
    await runner.query('CREATE UNIQUE INDEX rules_name ON rules (tenant_id, kind, name)');
    // Numbers that grow with each change of a tenant's rules and context, and the lock under which they change: a reader
    // that reads them in its transaction knows whether what it has in memory is current.
    await runner.query(`
      CREATE TABLE versions (
        tenant_id text PRIMARY KEY,
        rules bigint NOT NULL DEFAULT 0,
        context bigint NOT NULL DEFAULT 0
      ) WITH (fillfactor = 50)`);
    await runner.query(`
      CREATE TABLE context_entries (
        tenant_id text NOT NULL,
        -- 'context' or 'geozone'.
        kind text NOT NULL,
        key text NOT NULL,
        -- Null for a while after the entry has been deleted, so that readers hear of it.
        document json,
        tags text[] NOT NULL,
        -- versions.context since this entry is as it is.
        version bigint NOT NULL,
        updated timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, kind, key)
      )`);
    // What has changed since a version.
    await runner.query('CREATE INDEX context_entries_version ON context_entries (tenant_id, version)');
    // The job that removes what was deleted.
    await runner.query('CREATE INDEX context_entries_deleted ON context_entries (updated) WHERE document IS NULL');
    await runner.query(`
      CREATE TABLE firing_guards (
        tenant_id text COLLATE "C" NOT NULL,
        firing_rule_id uuid NOT NULL,
        -- Digest of the firing context: keys may be longer than an index takes.
        context text COLLATE "C" NOT NULL,
        id uuid NOT NULL,
        -- The expired guard in whose place this one is.
        replaces uuid,
        -- JSON of a client's data, which may hold what the types json and text[] refuse.
        criteria text NOT NULL,
        -- A digest for each pair of key and value, to search by.
        criteria_digests text[] NOT NULL,
        matching_context text NOT NULL,
        created timestamptz NOT NULL,
        -- Null when it stays until it is removed.
        expires timestamptz,
        PRIMARY KEY (tenant_id, firing_rule_id, context)
      )`);
    await runner.query('CREATE UNIQUE INDEX firing_guards_id ON firing_guards (tenant_id, id)');
    // The job that removes those that no message in flight can need any more.
    await runner.query('CREATE INDEX firing_guards_expires ON firing_guards (expires)');
    await runner.query(`
      CREATE TABLE states (
        tenant_id text COLLATE "C" NOT NULL,
        rule_id uuid NOT NULL,
        -- Digest of the state key.
        key text COLLATE "C" NOT NULL,
        -- JSON texts. The previous state is what the state was computed from: who finds another one computes again.
        state text NOT NULL,
        previous text,
        changed timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, rule_id, key)
      ) WITH (fillfactor = 80)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE rules, versions, context_entries, firing_guards, states');
  }
}

export const migrations = [Rules1700001030000, Activity1700001060000];
