import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What the explorer (manual 9) knows of devices beyond their registration, and how free text finds them. */
export class Explorer1700000130000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // One narrow row beside each device: what its messages change would otherwise write its tags, properties and their
    // indexes again each time.
    await runner.query(`
      CREATE TABLE device_states (
        tenant_id text COLLATE "C" NOT NULL,
        device_id text COLLATE "C" NOT NULL,
        -- Latest of the arrival of its messages and the contacts of its interfaces.
        last_communication timestamptz(3) NOT NULL DEFAULT '-infinity',
        -- Root location of its last message that had one: lat, lon, and optionally alt, accuracy and provider.
        location jsonb,
        located timestamptz(3),
        -- Copied from the device: it prevails while it is set.
        static_location jsonb,
        static_since timestamptz(3),
        lat double precision GENERATED ALWAYS AS ((coalesce(static_location, location) -> 'lat')::double precision) STORED,
        lon double precision GENERATED ALWAYS AS ((coalesce(static_location, location) -> 'lon')::double precision) STORED,
        -- Of all activity rules that target the device; null when none does.
        activity_state text COLLATE "C",
        -- From 0 to 1, of the LoRa messages of 14 days.
        lora_lost_messages_ratio double precision,
        PRIMARY KEY (tenant_id, device_id),
        FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, id) ON DELETE CASCADE
      ) WITH (fillfactor = 80)`);
    // Searches sorted by the last communication.
    await runner.query(
      'CREATE INDEX device_states_by_communication ON device_states (tenant_id, last_communication, device_id)',
    );
    // Searches within a box, and groups of devices by position: those read nothing but this index.
    await runner.query(
      'CREATE INDEX device_states_by_position ON device_states (tenant_id, lat, lon, device_id) WHERE lat IS NOT NULL',
    );

    // Whoever writes devices writes their states with them: what reads messages then only updates, and can never bring
    // the state of a deleted device back.
    await runner.query(`
      CREATE FUNCTION write_device_state() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
      BEGIN
        IF TG_OP = 'INSERT' THEN
          INSERT INTO device_states (tenant_id, device_id, static_location, static_since)
          VALUES (NEW.tenant_id, NEW.id, NEW.static_location, NEW.updated);
        ELSE
          UPDATE device_states SET static_location = NEW.static_location, static_since = NEW.updated
          WHERE tenant_id = NEW.tenant_id AND device_id = NEW.id;
        END IF;
        RETURN NULL;
      END $$`);
    await runner.query(
      'CREATE TRIGGER devices_inserted AFTER INSERT ON devices FOR EACH ROW EXECUTE FUNCTION write_device_state()',
    );
    await runner.query(`
      CREATE TRIGGER devices_moved AFTER UPDATE OF static_location ON devices FOR EACH ROW
      WHEN (OLD.static_location IS DISTINCT FROM NEW.static_location) EXECUTE FUNCTION write_device_state()`);
    await runner.query(`
      INSERT INTO device_states (tenant_id, device_id, static_location, static_since)
      SELECT tenant_id, id, static_location, updated FROM devices`);

    // State of a device for each activity rule that targets it (manual 17.2.7.3).
    await runner.query(`
      CREATE TABLE activities (
        tenant_id text COLLATE "C" NOT NULL,
        device_id text COLLATE "C" NOT NULL,
        rule_id text COLLATE "C" NOT NULL,
        state text COLLATE "C" NOT NULL,
        updated timestamptz(3) NOT NULL,
        PRIMARY KEY (tenant_id, device_id, rule_id),
        FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, id) ON DELETE CASCADE
      )`);
    // The few devices that are silent among many that are not.
    await runner.query('CREATE INDEX activities_by_state ON activities (tenant_id, state, device_id)');

    // Free text (manual 9.4.2) finds parts of values from three characters. That is what pg_trgm does, which not every
    // PostgreSQL has; here the same is made of what all have: the groups of three characters of a device's text, and
    // its words of one and two, in a GIN index. A word is looked up by all of its groups, and then compared as a whole.
    // Group paths are not part of the text, so that moving a group writes no device.
    await runner.query(`
      CREATE FUNCTION searchable(id text, name text, tags text[], properties jsonb) RETURNS text
      LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT lower(left(concat_ws(E'\\n', id, name, array_to_string(tags, E'\\n'),
          (SELECT string_agg(key || E'\\n' || value, E'\\n') FROM jsonb_each_text(properties))), 65536) COLLATE "default")
      $$`);
    await runner.query(`
      CREATE FUNCTION grams(searched text) RETURNS text[]
      LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 500 AS $$
        SELECT coalesce(array_agg(gram COLLATE "C"), '{}') FROM (
          SELECT a || b || c FROM (SELECT string_to_array(searched, NULL)) AS split (chars),
            unnest(chars, chars[2:], chars[3:]) AS three (a, b, c)
          WHERE c IS NOT NULL AND E'\\n' NOT IN (a, b, c)
          UNION ALL
          SELECT word FROM regexp_split_to_table(searched, '[\\s!-/:-@[-\`{-~]+') AS word WHERE length(word) IN (1, 2)
        ) AS all_grams (gram)
      $$`);
    // Stored, because common words are found sooner by reading the devices in their order than by the index.
    await runner.query(
      'ALTER TABLE devices ADD COLUMN searched text GENERATED ALWAYS AS (searchable(id, name, tags, properties)) STORED',
    );
    // Without a list of pending entries: now and then a registration would have to work off that of a thousand others.
    await runner.query('CREATE INDEX devices_by_grams ON devices USING gin (grams(searched)) WITH (fastupdate = off)');
    // Groups of interfaces read nothing but this index.
    await runner.query('DROP INDEX interfaces_by_device');
    await runner.query(
      'CREATE INDEX interfaces_by_device ON interfaces (tenant_id, device_id) INCLUDE (connector, status)',
    );
    // The few devices with a certain status among many that have another.
    await runner.query('CREATE INDEX interfaces_by_status ON interfaces (tenant_id, status, device_id)');
    // Searches sorted by group read the first devices of each.
    await runner.query('DROP INDEX devices_by_group');
    await runner.query('CREATE INDEX devices_by_group ON devices (tenant_id, group_id, id)');
    // Searches sorted by name, where devices without one come first.
    await runner.query(`CREATE INDEX devices_by_shown_name ON devices (tenant_id, (coalesce(name, '')), id)`);
    // Searches sorted by the last update.
    await runner.query('CREATE INDEX devices_by_updated ON devices (tenant_id, updated)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX interfaces_by_status, interfaces_by_device');
    await runner.query('CREATE INDEX interfaces_by_device ON interfaces (tenant_id, device_id)');
    await runner.query('DROP INDEX devices_by_group, devices_by_shown_name');
    await runner.query('CREATE INDEX devices_by_group ON devices (tenant_id, group_id)');
    await runner.query('DROP INDEX devices_by_updated, devices_by_grams; ALTER TABLE devices DROP COLUMN searched');
    await runner.query('DROP FUNCTION grams(text), searchable(text, text, text[], jsonb)');
    await runner.query('DROP TRIGGER devices_inserted ON devices; DROP TRIGGER devices_moved ON devices');
    await runner.query('DROP FUNCTION write_device_state(); DROP TABLE activities, device_states');
  }
}
