import type { MigrationInterface, QueryRunner } from 'typeorm';
import { Connectors1700000120000 } from './connectors/connectors.migration.js';
import { DeviceAccess1700000170000 } from './device-access/device-access.migration.js';
import { Explorer1700000130000 } from './explorer/explorer.migration.js';
import { DeviceInterfaces1700000210000 } from './interfaces/device-interfaces.migration.js';
import { NodeStatuses1700000140000 } from './sessions/node-statuses.migration.js';

class Devices1700000100000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE groups (
        tenant_id text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        parent_id text COLLATE "C",
        path_node text COLLATE "C",
        path text COLLATE "C" NOT NULL,
        description text,
        created timestamptz(3) NOT NULL,
        updated timestamptz(3) NOT NULL,
        PRIMARY KEY (tenant_id, id),
        FOREIGN KEY (tenant_id, parent_id) REFERENCES groups (tenant_id, id),
        -- One node per parent makes paths unique, and is short enough for an index, which seven levels of a path are not.
        CONSTRAINT groups_node UNIQUE (tenant_id, parent_id, path_node)
      )`);
    await runner.query(`
      CREATE TABLE devices (
        tenant_id text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        name text COLLATE "C",
        description text,
        default_data_stream_id text NOT NULL,
        tags text[] NOT NULL DEFAULT '{}',
        properties jsonb NOT NULL DEFAULT '{}',
        group_id text COLLATE "C" NOT NULL DEFAULT 'root',
        static_location jsonb,
        activity_state text NOT NULL DEFAULT 'NOT_MONITORED',
        created timestamptz(3) NOT NULL,
        updated timestamptz(3) NOT NULL,
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT devices_group FOREIGN KEY (tenant_id, group_id) REFERENCES groups (tenant_id, id)
      )`);
    // Devices of a group, also for the check when a group is deleted.
    await runner.query('CREATE INDEX devices_by_group ON devices (tenant_id, group_id)');
    // Lists by name or a start of it, and sorted by name or creation.
    await runner.query('CREATE INDEX devices_by_name ON devices (tenant_id, name)');
    await runner.query('CREATE INDEX devices_by_created ON devices (tenant_id, created)');
    // Lists filtered by tags and properties.
    await runner.query('CREATE INDEX devices_by_tags ON devices USING gin (tags)');
    await runner.query('CREATE INDEX devices_by_properties ON devices USING gin (properties jsonb_path_ops)');
    // Sessions change often: room for new versions of a row on its own page spares the other indexes.
    await runner.query(`
      CREATE TABLE interfaces (
        tenant_id text COLLATE "C" NOT NULL,
        connector text COLLATE "C" NOT NULL,
        node_id text COLLATE "C" NOT NULL,
        device_id text COLLATE "C" NOT NULL,
        enabled boolean NOT NULL,
        status text COLLATE "C" NOT NULL,
        definition jsonb NOT NULL,
        activity jsonb NOT NULL DEFAULT '{}',
        capabilities jsonb NOT NULL,
        last_contact timestamptz(3),
        connected boolean NOT NULL DEFAULT false,
        session_id text,
        session_instance text COLLATE "C",
        created timestamptz(3) NOT NULL,
        updated timestamptz(3) NOT NULL,
        PRIMARY KEY (tenant_id, connector, node_id),
        FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, id) ON DELETE CASCADE
      ) WITH (fillfactor = 80)`);
    // Interfaces of a device.
    await runner.query('CREATE INDEX interfaces_by_device ON interfaces (tenant_id, device_id)');
    // Devices by a node id without its connector.
    await runner.query('CREATE INDEX interfaces_by_node ON interfaces (tenant_id, node_id)');
    // Instances that hold sessions, and the sessions of one instance in the order in which rows are locked.
    await runner.query(
      'CREATE INDEX interfaces_sessions ON interfaces (connector, session_instance, tenant_id, node_id) WHERE session_instance IS NOT NULL',
    );
    // Devices per tenant, so that no registration counts a million rows.
    await runner.query(
      'CREATE TABLE device_counts (tenant_id text COLLATE "C" PRIMARY KEY, devices bigint NOT NULL) WITH (fillfactor = 50)',
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE device_counts, interfaces, devices, groups');
  }
}

class ActivityStates1700000220000 implements MigrationInterface {
  // What activity rules say of a device is in its `device_states`, so that it does not write the device's indexes.
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE devices DROP COLUMN activity_state');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE devices ADD COLUMN activity_state text NOT NULL DEFAULT 'NOT_MONITORED'`);
  }
}

export const migrations = [
  Devices1700000100000,
  Connectors1700000120000,
  Explorer1700000130000,
  NodeStatuses1700000140000,
  DeviceAccess1700000170000,
  DeviceInterfaces1700000210000,
  ActivityStates1700000220000,
];
