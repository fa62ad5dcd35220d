import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Pipelines1700001000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE pipelines (
        tenant_id text NOT NULL,
        id uuid NOT NULL,
        name text NOT NULL,
        description text,
        priority_level bigint NOT NULL,
        enabled boolean NOT NULL,
        -- json keeps the order of fields, so that a pipeline is returned as it was given.
        filter json,
        -- Without the headers.
        steps json NOT NULL,
        -- The headers of all steps, sealed: they hold credentials.
        headers text,
        created timestamptz NOT NULL,
        -- How many of waiting_messages are of this pipeline, changed with them under the lock of this row.
        waiting int NOT NULL DEFAULT 0,
        PRIMARY KEY (tenant_id, id)
      ) WITH (fillfactor = 50)`);
    // Grows with each change of a tenant's pipelines, and is the lock under which they change: whoever reads it in a
    // transaction knows whether the pipelines in memory are the current ones.
    await runner.query(`
      CREATE TABLE pipeline_versions (
        tenant_id text PRIMARY KEY,
        version bigint NOT NULL
      ) WITH (fillfactor = 50)`);
    // A queue leaves dead rows at its head: they are cleared early.
    await runner.query(`
      CREATE TABLE waiting_messages (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tenant_id text NOT NULL,
        pipeline_id uuid NOT NULL,
        partition int NOT NULL,
        -- The device, or the stream when there is none: one message of it is transformed at a time.
        key text NOT NULL,
        header text NOT NULL,
        body text NOT NULL
      ) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000)`);
    // Messages stay for a short time: compressing the large ones costs more than it saves.
    await runner.query(`ALTER TABLE waiting_messages ALTER COLUMN body SET STORAGE EXTERNAL`);
    // The next messages of a tenant.
    await runner.query(`CREATE INDEX waiting_messages_tenant ON waiting_messages (tenant_id, seq)`);
    // Whoever takes a partition over asks for the tenants that wait in it.
    await runner.query(`CREATE INDEX waiting_messages_partition ON waiting_messages (partition, tenant_id)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE pipelines, pipeline_versions, waiting_messages');
  }
}
