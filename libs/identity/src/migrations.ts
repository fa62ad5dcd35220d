import type { MigrationInterface, QueryRunner } from 'typeorm';

class Identity1700000100000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE tenants (
        id text PRIMARY KEY,
        name text NOT NULL UNIQUE,
        -- What the offer sets of the limits of chapter 23; the rest are its defaults.
        limits jsonb NOT NULL DEFAULT '{}',
        active boolean NOT NULL DEFAULT true,
        created timestamptz NOT NULL DEFAULT now()
      )`);
    await runner.query(`
      CREATE TABLE api_keys (
        tenant_id text NOT NULL REFERENCES tenants ON DELETE CASCADE,
        id text NOT NULL,
        parent_id text,
        label text NOT NULL,
        -- Every look-up of the hot path is by hash.
        hash text NOT NULL UNIQUE,
        roles text[] NOT NULL,
        fifos text[] NOT NULL,
        active boolean NOT NULL,
        valid_from timestamptz,
        valid_to timestamptz,
        created timestamptz NOT NULL DEFAULT now(),
        debug_until timestamptz,
        PRIMARY KEY (tenant_id, id),
        FOREIGN KEY (tenant_id, parent_id) REFERENCES api_keys ON DELETE CASCADE
      )`);
    // Children of a key; and the one master key of a tenant, which is the only key without a parent.
    await runner.query('CREATE INDEX api_keys_parent ON api_keys (tenant_id, parent_id)');
    await runner.query('CREATE UNIQUE INDEX api_keys_master ON api_keys (tenant_id) WHERE parent_id IS NULL');
    // Pages of the list.
    await runner.query('CREATE INDEX api_keys_created ON api_keys (tenant_id, created, id)');
    // What the ancestors leave of a key: a child has no role that one of them lacks and lives within the validity of
    // all of them (manual 4.3). Computed when read, so that a change of an ancestor takes effect and can be undone.
    await runner.query(`
      CREATE VIEW api_keys_in_force AS
      SELECT k.tenant_id, k.id, k.parent_id, k.label, k.hash, line.roles, k.fifos, k.active, line.valid_from,
        line.valid_to, k.created, k.debug_until, line.active AND t.active AS in_force, t.limits
      FROM api_keys k
      JOIN tenants t ON t.id = k.tenant_id
      CROSS JOIN LATERAL (
        WITH RECURSIVE keys AS (
          SELECT k.parent_id, k.active, k.roles, k.valid_from, k.valid_to
          UNION ALL
          SELECT p.parent_id, p.active, p.roles, p.valid_from, p.valid_to
          FROM keys JOIN api_keys p ON p.tenant_id = k.tenant_id AND p.id = keys.parent_id
        )
        SELECT bool_and(active) AS active, max(valid_from) AS valid_from, min(valid_to) AS valid_to,
          ARRAY(
            SELECT role FROM unnest(k.roles) WITH ORDINALITY AS own (role, place)
            WHERE NOT EXISTS (SELECT FROM keys WHERE role <> ALL (keys.roles))
            ORDER BY place
          ) AS roles
        FROM keys
      ) line`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP VIEW api_keys_in_force; DROP TABLE api_keys, tenants');
  }
}

export const identityMigrations = [Identity1700000100000];
