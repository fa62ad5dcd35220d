import type { MigrationInterface, QueryRunner } from 'typeorm';

/** SQL of what the interfaces of some devices `k` amount to, one row for each. */
const summary = (devices: string): string => `
  SELECT k.tenant_id, k.device_id,
    coalesce(json_agg(json_build_array(i.connector, i.status, i.definition ->> 'profile')
      ORDER BY i.connector, i.status, i.definition ->> 'profile') FILTER (WHERE i.connector IS NOT NULL), '[]')::text AS kinds,
    coalesce(min(i.status), '') AS lowest_status, coalesce(max(i.status), '') AS highest_status,
    coalesce(min(i.enabled::int), -1) AS lowest_enabled, coalesce(max(i.enabled::int), -1) AS highest_enabled
  FROM ${devices} LEFT JOIN interfaces i ON i.tenant_id = k.tenant_id AND i.device_id = k.device_id
  GROUP BY k.tenant_id, k.device_id`;

const CHANGED = `tenant_id, connector, node_id, device_id, status, enabled, definition ->> 'profile'`;

/** What the interfaces of each device amount to: for a page or a chart, nobody wants to read a million of them. */
export class DeviceInterfaces1700000210000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // Beside `device_states`, which each message writes together with all its indexes: statuses change more rarely.
    await runner.query(`
      CREATE TABLE device_interfaces (
        tenant_id text COLLATE "C" NOT NULL,
        device_id text COLLATE "C" NOT NULL,
        -- JSON array of [connector, status, profile] of each, sorted. Most devices share their text with many others:
        -- devices are counted by it, and what is in it is looked at once.
        kinds text NOT NULL DEFAULT '[]',
        -- The defaults stand for no interfaces: they are below all values.
        lowest_status text COLLATE "C" NOT NULL DEFAULT '',
        highest_status text COLLATE "C" NOT NULL DEFAULT '',
        -- 1 is enabled, 0 disabled.
        lowest_enabled smallint NOT NULL DEFAULT -1,
        highest_enabled smallint NOT NULL DEFAULT -1,
        FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, id) ON DELETE CASCADE
      ) WITH (fillfactor = 80)`);

    await runner.query(`
      CREATE FUNCTION add_device_interfaces() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
      BEGIN
        INSERT INTO device_interfaces (tenant_id, device_id) SELECT tenant_id, id FROM added;
        RETURN NULL;
      END $$`);
    await runner.query(`
      CREATE TRIGGER devices_added AFTER INSERT ON devices REFERENCING NEW TABLE AS added
      FOR EACH STATEMENT EXECUTE FUNCTION add_device_interfaces()`);

    // By statement, as sessions write interfaces in batches. Two transactions may change two interfaces of one device:
    // the row of the device is locked, in the order of all rows, before its interfaces are read by a statement of its
    // own, which sees what the other has committed.
    await runner.query(`
      CREATE FUNCTION write_device_interfaces() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
      DECLARE
        tenants text[];
        devices text[];
      BEGIN
        IF TG_OP = 'INSERT' THEN
          SELECT array_agg(tenant_id), array_agg(device_id) INTO tenants, devices FROM added;
        ELSIF TG_OP = 'DELETE' THEN
          SELECT array_agg(tenant_id), array_agg(device_id) INTO tenants, devices FROM removed;
        ELSE
          -- Contacts, which are most of all changes, change nothing here.
          SELECT array_agg(tenant_id), array_agg(device_id) INTO tenants, devices FROM (
            (SELECT ${CHANGED} FROM added EXCEPT SELECT ${CHANGED} FROM removed)
            UNION ALL
            (SELECT ${CHANGED} FROM removed EXCEPT SELECT ${CHANGED} FROM added)) AS changed;
        END IF;
        SELECT array_agg(tenant_id), array_agg(device_id) INTO tenants, devices FROM (
          SELECT n.tenant_id, n.device_id FROM device_interfaces n
          JOIN (SELECT DISTINCT * FROM unnest(tenants, devices) AS given (tenant_id, device_id)) k
            ON k.tenant_id = n.tenant_id AND k.device_id = n.device_id
          ORDER BY n.tenant_id, n.device_id FOR NO KEY UPDATE OF n) AS locked;
        IF tenants IS NULL THEN
          RETURN NULL;
        END IF;
        UPDATE device_interfaces n SET kinds = v.kinds, lowest_status = v.lowest_status,
          highest_status = v.highest_status, lowest_enabled = v.lowest_enabled, highest_enabled = v.highest_enabled
        FROM (${summary('unnest(tenants, devices) AS k (tenant_id, device_id)')}) v
        WHERE n.tenant_id = v.tenant_id AND n.device_id = v.device_id
          AND (n.kinds, n.lowest_enabled, n.highest_enabled) IS DISTINCT FROM (v.kinds, v.lowest_enabled, v.highest_enabled);
        RETURN NULL;
      END $$`);
    for (const [name, event, tables] of [
      ['interfaces_added', 'INSERT', 'NEW TABLE AS added'],
      ['interfaces_changed', 'UPDATE', 'OLD TABLE AS removed NEW TABLE AS added'],
      ['interfaces_removed', 'DELETE', 'OLD TABLE AS removed'],
    ])
      await runner.query(`
        CREATE TRIGGER ${name} AFTER ${event} ON interfaces REFERENCING ${tables}
        FOR EACH STATEMENT EXECUTE FUNCTION write_device_interfaces()`);

    // After the triggers, whose locks let nobody change an interface meanwhile.
    await runner.query(`
      INSERT INTO device_interfaces (tenant_id, device_id, kinds, lowest_status, highest_status, lowest_enabled, highest_enabled)
      ${summary('(SELECT tenant_id, id AS device_id FROM devices) AS k')}`);
    await runner.query('ALTER TABLE device_interfaces ADD PRIMARY KEY (tenant_id, device_id)');
    // Lists and searches sorted by interfaces.status and interfaces.enabled: a device with several interfaces is placed
    // by the lowest when ascending, by the highest when descending. Among equal ones ids ascend in both directions.
    await runner.query(
      'CREATE INDEX device_interfaces_by_lowest_status ON device_interfaces (tenant_id, lowest_status, device_id)',
    );
    await runner.query(
      'CREATE INDEX device_interfaces_by_highest_status ON device_interfaces (tenant_id, highest_status DESC, device_id)',
    );
    await runner.query(
      'CREATE INDEX device_interfaces_by_lowest_enabled ON device_interfaces (tenant_id, lowest_enabled, device_id)',
    );
    await runner.query(
      'CREATE INDEX device_interfaces_by_highest_enabled ON device_interfaces (tenant_id, highest_enabled DESC, device_id)',
    );
    // A new table is unknown to the planner until it is analyzed.
    await runner.query('ANALYZE device_interfaces');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      DROP TRIGGER devices_added ON devices; DROP TRIGGER interfaces_added ON interfaces;
      DROP TRIGGER interfaces_changed ON interfaces; DROP TRIGGER interfaces_removed ON interfaces`);
    await runner.query(
      'DROP FUNCTION write_device_interfaces(), add_device_interfaces(); DROP TABLE device_interfaces',
    );
  }
}
