import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Activity rules, and the state of each device for each of them (manual 17.2.7). */
export class Activity1700001060000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // The tenants that have had activity rules, and the lock under which their rules and targets change.
    await runner.query(`
      CREATE TABLE activity_tenants (
        tenant_id text COLLATE "C" PRIMARY KEY,
        -- Grows whenever states have been made those of the devices in the inventory: what somebody else has read of the
        -- inventory before that may be no longer so, and must not be written.
        revision bigint NOT NULL DEFAULT 0
      ) WITH (fillfactor = 50)`);
    await runner.query(`
      CREATE TABLE activity_rules (
        tenant_id text COLLATE "C" NOT NULL,
        id uuid NOT NULL,
        name text NOT NULL,
        enabled boolean NOT NULL,
        -- json keeps the order of fields.
        silent_policy json NOT NULL,
        targets json NOT NULL,
        tags text[],
        -- Milliseconds of the policy, 10 minutes at least.
        delay_ms bigint NOT NULL,
        repeat_ms bigint,
        -- One more with each change. A state with another one is UNKNOWN since the change (manual 17.2.7.2), whatever
        -- stands in its row: no change writes the states of all devices at once.
        version integer NOT NULL,
        changed timestamptz(3) NOT NULL,
        created timestamptz(3) NOT NULL,
        PRIMARY KEY (tenant_id, id)
      )`);
    await runner.query('CREATE UNIQUE INDEX activity_rules_name ON activity_rules (tenant_id, name)');
    await runner.query(`
      CREATE TABLE activity_states (
        tenant_id text COLLATE "C" NOT NULL,
        rule_id uuid NOT NULL,
        device_id text COLLATE "C" NOT NULL,
        partition smallint NOT NULL,
        device_name text,
        group_path text NOT NULL,
        rule_version integer NOT NULL,
        state text NOT NULL,
        last_activity timestamptz(3),
        -- From when on the time without activity counts: the last activity, or what has begun it anew.
        quiet_since timestamptz(3) NOT NULL,
        -- When the timer has to look at it: never after the next alarm, often before, so that most activity moves no
        -- entry of an index. Null when there is no next alarm.
        next_alarm timestamptz(3),
        reminders integer NOT NULL DEFAULT 0,
        PRIMARY KEY (tenant_id, rule_id, device_id)
      ) WITH (fillfactor = 70)`);
    // The states of a device.
    await runner.query('CREATE INDEX activity_states_device ON activity_states (tenant_id, device_id)');
    // What the timers have to look at.
    await runner.query(
      'CREATE INDEX activity_states_next ON activity_states (partition, next_alarm) WHERE next_alarm IS NOT NULL',
    );
    // Rules whose states have to be compared with the inventory: the rule, or the tree of groups, has changed.
    await runner.query(`
      CREATE TABLE activity_syncs (
        tenant_id text COLLATE "C" NOT NULL,
        rule_id uuid NOT NULL,
        -- Of the last request: whoever works for an earlier one gives up.
        generation uuid NOT NULL,
        -- When it was asked for.
        since timestamptz(3) NOT NULL,
        -- Devices up to this one have been compared.
        after text COLLATE "C" NOT NULL DEFAULT '',
        -- When somebody has last worked on it.
        claimed timestamptz,
        PRIMARY KEY (tenant_id, rule_id)
      )`);
    // Devices that are new, have been deleted, or have another name or group: the inventory is asked for many at once.
    await runner.query(`
      CREATE TABLE activity_placed (
        tenant_id text COLLATE "C" NOT NULL,
        device_id text COLLATE "C" NOT NULL,
        -- Another one each time that something is heard of the device, so that nothing is overlooked.
        seq bigint GENERATED ALWAYS AS IDENTITY,
        since timestamptz(3) NOT NULL,
        PRIMARY KEY (tenant_id, device_id)
      )`);
    // The order in which they are worked off.
    await runner.query('CREATE INDEX activity_placed_seq ON activity_placed (seq)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE activity_placed, activity_syncs, activity_states, activity_rules, activity_tenants');
  }
}
