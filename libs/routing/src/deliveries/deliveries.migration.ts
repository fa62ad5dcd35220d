import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Deliveries1700001000500 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE delivered_actions (
        tenant_id text NOT NULL,
        id uuid NOT NULL,
        policy_id uuid NOT NULL,
        -- As policies name it: emails, sms, httpPush, azureEventHubs.
        kind text NOT NULL,
        -- The action as JSON, encrypted.
        sealed text NOT NULL,
        -- When its policy was changed: it is kept for what still waits for it.
        retired timestamptz,
        PRIMARY KEY (tenant_id, id)
      )`);
    // A policy that is deleted takes its actions with it.
    await runner.query('CREATE INDEX delivered_actions_policy ON delivered_actions (tenant_id, policy_id)');
    await runner.query(`
      CREATE TABLE delivery_queues (
        tenant_id text NOT NULL,
        -- push (httpPush and azureEventHubs), email or sms.
        queue text NOT NULL,
        -- By which its sender is found.
        partition int NOT NULL,
        -- Rows of deliveries that have not been tried, changed with them under the lock of this row.
        waiting int NOT NULL,
        -- Rows of deliveries that have been tried, likewise.
        retrying int NOT NULL DEFAULT 0,
        -- Nothing is due earlier.
        next_due timestamptz,
        PRIMARY KEY (tenant_id, queue)
      ) WITH (fillfactor = 50)`);
    // Senders look for what is due in their partitions.
    await runner.query('CREATE INDEX delivery_queues_due ON delivery_queues (partition, next_due)');
    // A queue leaves dead rows at its head: they are cleared early, so that reading from the head stays fast.
    await runner.query(`
      CREATE TABLE deliveries (
        tenant_id text NOT NULL,
        queue text NOT NULL,
        seq bigint GENERATED ALWAYS AS IDENTITY,
        action_id uuid NOT NULL,
        -- x-orange-lo-message-id
        message_id uuid NOT NULL,
        -- The routed message or event.
        body text NOT NULL,
        -- Attempts that have failed.
        attempt int NOT NULL DEFAULT 0,
        -- When it is to be tried; of what a sender has taken, when it is given up for lost.
        due timestamptz NOT NULL DEFAULT now(),
        taken boolean NOT NULL DEFAULT false,
        PRIMARY KEY (tenant_id, queue, seq)
      ) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000)`);
    // Messages stay for a short time: compressing the large ones costs more than it saves.
    await runner.query('ALTER TABLE deliveries ALTER COLUMN body SET STORAGE EXTERNAL');
    // What is due next.
    await runner.query('CREATE INDEX deliveries_due ON deliveries (tenant_id, queue, due, seq)');
    // The oldest that make room when too many wait.
    await runner.query(
      'CREATE INDEX deliveries_waiting ON deliveries (tenant_id, queue, seq) WHERE attempt = 0 AND NOT taken',
    );
    // What a sender that is gone had taken; rows are in it for a moment.
    await runner.query('CREATE INDEX deliveries_taken ON deliveries (tenant_id, queue) WHERE taken');
    await runner.query(`
      CREATE TABLE push_days (
        tenant_id text NOT NULL,
        policy_id uuid NOT NULL,
        -- UTC, on which the pushes ended.
        day date NOT NULL,
        pushes bigint NOT NULL,
        failed bigint NOT NULL,
        PRIMARY KEY (tenant_id, policy_id, day)
      ) WITH (fillfactor = 50)`);
    // The job that looks at the last days of all policies, and removes older ones.
    await runner.query('CREATE INDEX push_days_day ON push_days (day)');
    await runner.query(`
      CREATE TABLE emissions (
        tenant_id text NOT NULL,
        -- email or sms
        queue text NOT NULL,
        -- UTC
        day date NOT NULL,
        count int NOT NULL,
        -- The audit log says that the limit is reached.
        reported boolean NOT NULL DEFAULT false,
        PRIMARY KEY (tenant_id, queue, day)
      )`);
    await runner.query(`
      CREATE TABLE waiting_sms (
        id uuid PRIMARY KEY,
        seq bigint GENERATED ALWAYS AS IDENTITY,
        tenant_id text NOT NULL,
        policy_id uuid NOT NULL,
        phone_number text NOT NULL,
        text text NOT NULL,
        created timestamptz NOT NULL DEFAULT now(),
        -- Until when a connector that has taken it is waited for.
        taken_until timestamptz
      )`);
    // In the order of their making: for connectors, and for the tenant.
    await runner.query('CREATE INDEX waiting_sms_seq ON waiting_sms (seq)');
    await runner.query('CREATE INDEX waiting_sms_tenant ON waiting_sms (tenant_id, seq)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE delivered_actions, delivery_queues, deliveries, push_days, emissions, waiting_sms');
  }
}
