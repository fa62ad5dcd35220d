import type { MigrationInterface, QueryRunner } from 'typeorm';

export class DeliveryAttempts1700001001000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // Id under which the message or event is stored: the journeys of messages ask by it. Null when it is not stored.
    await runner.query('ALTER TABLE deliveries ADD COLUMN stored_id text');
    await runner.query(`
      CREATE TABLE delivery_attempts (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tenant_id text NOT NULL,
        stored_id text NOT NULL,
        -- x-orange-lo-message-id
        message_id uuid NOT NULL,
        -- Null when the policy had been deleted.
        policy_id uuid,
        kind text NOT NULL,
        -- The first is 1.
        attempt int NOT NULL,
        -- done, failed, or retrying: it has failed, and another one follows.
        outcome text NOT NULL,
        -- An HTTP status, or what went wrong.
        told text,
        at timestamptz NOT NULL DEFAULT now()
      )`);
    // The attempts of one message.
    await runner.query('CREATE INDEX delivery_attempts_stored ON delivery_attempts (tenant_id, stored_id)');
    // Rows come in the order of time: a few pages tell where the old ones are that a job removes.
    await runner.query('CREATE INDEX delivery_attempts_at ON delivery_attempts USING brin (at)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE delivery_attempts');
    await runner.query('ALTER TABLE deliveries DROP COLUMN stored_id');
  }
}
