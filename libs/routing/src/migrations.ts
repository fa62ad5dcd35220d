import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Fifos1700000500000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE fifos (
        tenant_id text NOT NULL,
        name text NOT NULL,
        id int GENERATED ALWAYS AS IDENTITY UNIQUE,
        -- By which its dispatcher is found (contract.ts).
        partition int NOT NULL,
        max_length_bytes bigint NOT NULL,
        -- Seconds; 0 keeps nothing that nobody consumes.
        message_ttl int NOT NULL,
        -- Sums over fifo_messages, changed with them under the lock of this row.
        messages bigint NOT NULL DEFAULT 0,
        bytes bigint NOT NULL DEFAULT 0,
        -- Begins at the microsecond of creation: a FIFO made anew under the same name never repeats a number that a
        -- subscriber of the deleted one may still hold.
        next_seq bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
        consumers int NOT NULL DEFAULT 0,
        -- Since when messages have come without any being consumed; null when nothing waits.
        unconsumed_since timestamptz,
        created timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, name)
      ) WITH (fillfactor = 50)`);
    // A dispatcher that takes a partition over asks which of its FIFOs have consumers.
    await runner.query(`CREATE INDEX fifos_partition ON fifos (partition)`);
    // A queue leaves dead rows at its head: they are cleared early, so that reading from the head stays fast.
    await runner.query(`
      CREATE TABLE fifo_messages (
        fifo_id int NOT NULL,
        seq bigint NOT NULL,
        size int NOT NULL,
        expires timestamptz NOT NULL,
        body text NOT NULL,
        PRIMARY KEY (fifo_id, seq)
      ) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000)`);
    // Messages stay for a short time: compressing the large ones costs more than it saves.
    await runner.query(`ALTER TABLE fifo_messages ALTER COLUMN body SET STORAGE EXTERNAL`);
    // The job that removes what nobody consumed in time.
    await runner.query(`CREATE INDEX fifo_messages_expires ON fifo_messages (expires)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE fifos, fifo_messages');
  }
}

export class ActionPolicies1700000510000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE action_policies (
        tenant_id text NOT NULL,
        id uuid NOT NULL,
        name text,
        enabled boolean NOT NULL,
        suspension text,
        -- json keeps the order of fields, so that a policy is returned as it was given.
        triggers json NOT NULL,
        actions json NOT NULL,
        -- FIFOs of the actions, to find the policies of a FIFO.
        fifo_names text[] NOT NULL,
        -- When the policy was created or last enabled: only messages that arrive later are routed.
        active_since timestamptz NOT NULL,
        created timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, id)
      )`);
    // Grows with each change of a tenant's policies, and is the lock under which they change: a router that reads it
    // in its transaction knows whether the policies in its memory are the current ones.
    await runner.query(`
      CREATE TABLE policy_versions (
        tenant_id text PRIMARY KEY,
        version bigint NOT NULL
      ) WITH (fillfactor = 50)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE action_policies, policy_versions');
  }
}
