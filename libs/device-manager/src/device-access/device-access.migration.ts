import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What devices have that register themselves, and log in with an access key of their own. */
export class DeviceAccess1700000170000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE device_accesses (
        -- Node id of the device's mqtt interface. A login names no tenant: it is random, and unique in the platform.
        id text COLLATE "C" PRIMARY KEY,
        tenant_id text COLLATE "C" NOT NULL,
        device_id text COLLATE "C" NOT NULL,
        -- SHA-256 of the access key, which is random and long.
        key_hash text NOT NULL,
        -- The API key by which it last registered.
        api_key_id text NOT NULL,
        sn text COLLATE "C",
        -- Lower case, without what separates its digits.
        mac text COLLATE "C",
        -- As the device told it last.
        firmware_version text,
        created timestamptz(3) NOT NULL,
        updated timestamptz(3) NOT NULL,
        FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, id) ON DELETE CASCADE
      )`);
    // A device that registers again is found by either of them.
    await runner.query(
      'CREATE UNIQUE INDEX device_accesses_sn ON device_accesses (tenant_id, sn) WHERE sn IS NOT NULL',
    );
    await runner.query(
      'CREATE UNIQUE INDEX device_accesses_mac ON device_accesses (tenant_id, mac) WHERE mac IS NOT NULL',
    );
    // The cascade of a deleted device.
    await runner.query('CREATE INDEX device_accesses_by_device ON device_accesses (tenant_id, device_id)');

    await runner.query(`
      CREATE TABLE device_licenses (
        tenant_id text COLLATE "C" NOT NULL,
        device_id text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        data text NOT NULL,
        signature text NOT NULL,
        -- add, update or remove: what the device has to do, or has done last.
        operation text NOT NULL,
        -- pending, inuse, removed or error.
        state text NOT NULL,
        error text,
        -- One more with each operation.
        revision integer NOT NULL,
        created timestamptz(3) NOT NULL,
        updated timestamptz(3) NOT NULL,
        PRIMARY KEY (tenant_id, device_id, id),
        FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, id) ON DELETE CASCADE
      )`);

    // Beside the device's other states: large values must not be written again with each contact.
    await runner.query(`
      CREATE TABLE device_telemetry (
        tenant_id text COLLATE "C" NOT NULL,
        device_id text COLLATE "C" NOT NULL,
        -- JSON object. As text: nobody searches in it, and PostgreSQL's own type does not take all that devices may send.
        telemetries text NOT NULL,
        status text NOT NULL,
        message text,
        -- Of the last telemetry message.
        sent timestamptz(3) NOT NULL,
        PRIMARY KEY (tenant_id, device_id),
        FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, id) ON DELETE CASCADE
      ) WITH (fillfactor = 80)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE device_telemetry, device_licenses, device_accesses');
  }
}
