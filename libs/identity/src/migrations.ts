import { newSettings, UNLIMITED_CONTENTS } from '@orrery/core/limits';
import type { MigrationInterface, QueryRunner } from 'typeorm';
import { Bss1700000600000 } from './bss/bss.migration.js';

/**
 * What the ancestors leave of a key: a child has no role that one of them lacks and lives within the validity of all of
 * them (manual 4.3). Computed when read, so that a change of an ancestor takes effect and can be undone.
 */
const keysInForce = (columns: string): string => `
CREATE VIEW api_keys_in_force AS
  SELECT k.tenant_id, k.id, k.parent_id, k.label, k.hash, line.roles, k.fifos, k.active, line.valid_from,
    line.valid_to, k.created, k.debug_until, line.active AND t.active AS in_force, ${columns}
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
  ) line`;
const NEW_COLUMNS =
  'k.user_id, k.session_ttl_ms, k.ca_cert_ids, k.client_cert_required, t.account_type, t.offer_settings';

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
    await runner.query(keysInForce('t.limits'));
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP VIEW api_keys_in_force; DROP TABLE api_keys, tenants');
  }
}

class Accounts1700000200000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('DROP VIEW api_keys_in_force');
    await runner.query(`
      ALTER TABLE tenants
        ADD account_type text NOT NULL DEFAULT 'CUSTOMER' CHECK (account_type IN ('CUSTOMER', 'VENDOR', 'ADMIN')),
        ADD parent_id text REFERENCES tenants,
        ADD support_vendor_ids text[] NOT NULL DEFAULT '{}',
        ADD offer_settings jsonb NOT NULL DEFAULT '{}',
        ADD user_settings jsonb NOT NULL DEFAULT '{}',
        ADD deletion_ordered timestamptz`);
    // The only limits that could be set so far were those of the first tenant: none.
    await runner.query(`UPDATE tenants SET offer_settings = $1::jsonb WHERE limits <> '{}'`, [
      JSON.stringify(newSettings(UNLIMITED_CONTENTS)),
    ]);
    await runner.query('ALTER TABLE tenants DROP limits');
    // Customers of a vendor; tenants whose week is over.
    await runner.query('CREATE INDEX tenants_parent ON tenants (parent_id)');
    await runner.query(
      'CREATE INDEX tenants_deletion ON tenants (deletion_ordered) WHERE deletion_ordered IS NOT NULL',
    );
    await runner.query(`
      CREATE TABLE users (
        tenant_id text NOT NULL REFERENCES tenants ON DELETE CASCADE,
        id text NOT NULL,
        -- The login alone selects the account, so it is unique on the platform.
        login text NOT NULL UNIQUE,
        email text NOT NULL,
        roles text[] NOT NULL,
        enabled boolean NOT NULL DEFAULT true,
        -- The first user of the tenant, who gets the activation mail when the offer is set (manual 21.4.3).
        main_user boolean NOT NULL DEFAULT false,
        -- Null until the user has chosen a password.
        password_hash text,
        created timestamptz NOT NULL DEFAULT now(),
        last_authentication timestamptz,
        last_reset_password timestamptz,
        PRIMARY KEY (tenant_id, id)
      )`);
    // Pages of the list.
    await runner.query('CREATE INDEX users_created ON users (tenant_id, created, id)');
    await runner.query(`
      ALTER TABLE api_keys
        ADD user_id text,
        ADD session_ttl_ms integer,
        ADD ca_cert_ids text[] NOT NULL DEFAULT '{}',
        ADD client_cert_required boolean NOT NULL DEFAULT false,
        ADD FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE`);
    // Keys of a user's logins.
    await runner.query('CREATE INDEX api_keys_user ON api_keys (tenant_id, user_id) WHERE user_id IS NOT NULL');
    await runner.query(keysInForce(NEW_COLUMNS));
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP VIEW api_keys_in_force');
    await runner.query(`
      ALTER TABLE api_keys DROP user_id, DROP session_ttl_ms, DROP ca_cert_ids, DROP client_cert_required`);
    await runner.query('DROP TABLE users');
    await runner.query(`
      ALTER TABLE tenants DROP account_type, DROP parent_id, DROP support_vendor_ids, DROP offer_settings,
        DROP user_settings, DROP deletion_ordered, ADD limits jsonb NOT NULL DEFAULT '{}'`);
    await runner.query(keysInForce('t.limits'));
  }
}

class Logins1700000310000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE user_tokens (
        tenant_id text NOT NULL,
        user_id text NOT NULL,
        purpose text NOT NULL CHECK (purpose IN ('activation', 'reset')),
        -- Null until the mail is being made. The token itself is known to its mail alone.
        hash text UNIQUE,
        expires timestamptz,
        requested timestamptz NOT NULL DEFAULT now(),
        -- When the mail is to be sent; null when it was.
        due timestamptz DEFAULT now(),
        attempts integer NOT NULL DEFAULT 0,
        PRIMARY KEY (tenant_id, user_id, purpose),
        FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
      )`);
    // Mails that wait.
    await runner.query('CREATE INDEX user_tokens_due ON user_tokens (due) WHERE due IS NOT NULL');
    await runner.query(`
      CREATE TABLE login_failures (
        -- Digest of the login, whether a user has it or not: logins are unique on the platform.
        login_hash text PRIMARY KEY,
        -- Wrong passwords in a row.
        failures integer NOT NULL,
        last timestamptz NOT NULL DEFAULT now()
      )`);
    // What the hourly job forgets.
    await runner.query('CREATE INDEX login_failures_last ON login_failures (last)');
    await runner.query('CREATE INDEX api_keys_session_end ON api_keys (valid_to) WHERE user_id IS NOT NULL');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX api_keys_session_end; DROP TABLE login_failures, user_tokens');
  }
}

class CaCertificates1700000500000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE ca_certificates (
        tenant_id text NOT NULL REFERENCES tenants ON DELETE CASCADE,
        id text NOT NULL,
        certificate text NOT NULL,
        comment text,
        expires timestamptz NOT NULL,
        created timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id)
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE ca_certificates');
  }
}

export const identityMigrations = [
  Identity1700000100000,
  Accounts1700000200000,
  Logins1700000310000,
  CaCertificates1700000500000,
  Bss1700000600000,
];
