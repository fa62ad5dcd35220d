import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Rules and subscriptions (manual 21.3), settings of tenants by section, and tenants that are gone (21.6). */
export class Bss1700000600000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE bss_rules (
        -- The order of creation: a display name points to its rule of the highest number.
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id text NOT NULL UNIQUE,
        name text NOT NULL UNIQUE,
        display_name text NOT NULL,
        type text NOT NULL CHECK (type IN ('OFFER', 'OPTION', 'ADMIN_OPTION')),
        disabled boolean NOT NULL DEFAULT false,
        tags text[] NOT NULL DEFAULT '{}',
        pre_conditions jsonb NOT NULL,
        post_conditions jsonb NOT NULL,
        created timestamptz NOT NULL DEFAULT now()
      )`);
    // The latest version of a display name.
    await runner.query('CREATE INDEX bss_rules_versions ON bss_rules (display_name, number)');
    await runner.query(`
      CREATE TABLE bss_subscriptions (
        tenant_id text NOT NULL REFERENCES tenants ON DELETE CASCADE,
        -- The order of subscription.
        number bigint GENERATED ALWAYS AS IDENTITY,
        -- The version that is applied.
        rule bigint NOT NULL REFERENCES bss_rules,
        -- Display name whose latest version is to be applied; null when one version was chosen.
        follows text,
        PRIMARY KEY (tenant_id, number)
      )`);
    // Followers of a display name that are behind its latest version.
    await runner.query('CREATE INDEX bss_subscriptions_followers ON bss_subscriptions (follows, rule)');
    // A section is written without reading the others.
    await runner.query('ALTER TABLE tenants DROP user_settings');
    await runner.query(`
      CREATE TABLE user_settings (
        tenant_id text NOT NULL REFERENCES tenants ON DELETE CASCADE,
        section text NOT NULL,
        content jsonb NOT NULL,
        revision integer NOT NULL,
        PRIMARY KEY (tenant_id, section)
      )`);
    // Pages of a vendor's customers.
    await runner.query('CREATE INDEX tenants_created ON tenants (parent_id, created, id)');
    await runner.query('DROP INDEX tenants_parent');
    // Read by every service, which removes what it has of these tenants (core's tenants part). The column is not called
    // tenant_id, by which rows of a removed tenant are found.
    await runner.query(`
      CREATE TABLE removed_tenants (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id text NOT NULL,
        removed timestamptz NOT NULL DEFAULT now()
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE removed_tenants, user_settings, bss_subscriptions, bss_rules');
    await runner.query(`ALTER TABLE tenants ADD user_settings jsonb NOT NULL DEFAULT '{}'`);
    await runner.query('CREATE INDEX tenants_parent ON tenants (parent_id)');
    await runner.query('DROP INDEX tenants_created');
  }
}
