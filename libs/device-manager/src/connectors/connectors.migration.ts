import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Connectors1700000120000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // Sealed with ORRERY_SECRET_KEY. Null where the connector has no secret.
    await runner.query('ALTER TABLE interfaces ADD COLUMN secret text');
    // A handshake tells the PSK identity and nothing else: it can belong to one interface of one tenant only.
    await runner.query(`
      CREATE UNIQUE INDEX interfaces_psk_identity ON interfaces ((definition #>> '{security,pskInfo,identity}'))
      WHERE connector = 'lwm2m' AND definition #>> '{security,pskInfo,identity}' IS NOT NULL`);
    // Interfaces of the connectors that an offer limits.
    await runner.query(`
      CREATE TABLE interface_counts (
        tenant_id text COLLATE "C" NOT NULL,
        connector text COLLATE "C" NOT NULL,
        interfaces bigint NOT NULL,
        PRIMARY KEY (tenant_id, connector)
      ) WITH (fillfactor = 50)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE interface_counts');
    await runner.query('DROP INDEX interfaces_psk_identity');
    await runner.query('ALTER TABLE interfaces DROP COLUMN secret');
  }
}
