import { randomUUID } from 'node:crypto';
import { PackingPublisher, streamSubject } from '@orrery/core/bus';
import { decodeEntry, partitionOf } from '@orrery/core/messages';
import type { LimitValues } from '@orrery/core/limits';
import type { Service, ServiceRoles } from '@orrery/core/service';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import type { ActivityRuleDto } from '../activity/activity-rule.dto.js';
import type { ActivityStateDto } from '../activity/activity-state.dto.js';
import type { DeviceActivityEvent } from '../contract.js';

export const RULES = '/api/v0/eventprocessing/activity/rules';
export const STATES = '/api/v0/eventprocessing/activity/states';
const DEVICES = '/api/v1/deviceMgt/devices';
const GROUPS = '/api/v1/deviceMgt/groups';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;

export type RuleFields = Omit<ActivityRuleDto, 'name' | 'enabled'> & Partial<ActivityRuleDto>;

/** Services with activity rules and an inventory, and as many tenants as a test needs. */
export interface ActivityBackend {
  backend: Backend;
  /** Of the first platform. */
  url: string;
  /** With the default limits unless told otherwise. */
  newTenant(limits?: LimitValues): ActivityTenant;
  stop(): Promise<void>;
}

export async function startActivity(services: Service[], roles?: ServiceRoles): Promise<ActivityBackend> {
  const backend = await startBackend(services);
  const bus = await backend.bus();
  const keys = keyRing(bus);
  const events = new PackingPublisher(bus, 'EVENTS');
  const heard: Heard[] = [];
  for (let partition = 0; partition < bus.partitions; partition++)
    bus.connection.subscribe(streamSubject('EVENTS', partition), {
      callback: (_error, message) => {
        for (const { header, body } of decodeEntry(message.data))
          heard.push({ ...JSON.parse(header), body: JSON.parse(body) });
      },
    });
  const { url } = await backend.boot(services, roles);
  return {
    backend,
    url,
    newTenant: (limits) => {
      const id = randomUUID();
      const { value } = keys.grant(id, limits ? { limits } : {});
      return new ActivityTenant(id, value, apiClient(url, value), backend, heard, (key, type, body) =>
        events
          .publish(
            partitionOf(id, key, bus.partitions),
            JSON.stringify({ tenantId: id, type, key }),
            JSON.stringify(body),
          )
          .then(() => undefined),
      );
    },
    async stop() {
      await events.close();
      await backend.stop();
    },
  };
}

interface Heard {
  tenantId: string;
  type: string;
  body: unknown;
}

/** A tenant with its devices, each called by the last part of its id, and its activity rules. */
export class ActivityTenant {
  constructor(
    readonly id: string,
    readonly apiKey: string,
    readonly api: ApiClient,
    private readonly backend: Backend,
    private readonly heard: Heard[],
    private readonly publish: (key: string, type: string, body: object) => Promise<void>,
  ) {}

  idOf(device: string): string {
    return `urn:lo:nsid:mqtt:${device}`;
  }

  async device(name: string, body: object = {}): Promise<void> {
    expect((await this.api.post(DEVICES, { id: this.idOf(name), ...body })).status).toBe(200);
  }

  async move(name: string, path: string): Promise<void> {
    expect((await this.api.patch(`${DEVICES}/${this.idOf(name)}`, { group: { path } })).status).toBe(200);
  }

  async removeDevice(name: string): Promise<void> {
    expect((await this.api.delete(`${DEVICES}/${this.idOf(name)}`)).status).toBe(204);
  }

  /** Creates the groups of the path that are missing. @returns the id of the last one. */
  async group(path: string): Promise<string> {
    const found = await this.api.get<Array<{ id: string }>>(`${GROUPS}?groupPath=${path}`);
    if (found.body[0]) return found.body[0].id;
    const slash = path.lastIndexOf('/');
    const parentId = slash === 0 ? 'root' : await this.group(path.slice(0, slash));
    const created = await this.api.post<{ id: string }>(GROUPS, { pathNode: path.slice(slash + 1), parentId });
    expect(created.status).toBe(201);
    return created.body.id;
  }

  async renameGroup(id: string, pathNode: string): Promise<void> {
    expect((await this.api.put(`${GROUPS}/${id}`, { pathNode })).status).toBe(200);
  }

  /** A rule of 10 minutes unless told otherwise, once the states of these devices are there. */
  async rule(fields: Partial<RuleFields>, devices: readonly string[]): Promise<string> {
    const { status, body } = await this.api.post<{ id: string }>(RULES, {
      name: randomUUID(),
      enabled: true,
      silentPolicy: { duration: 'PT10M' },
      targets: { deviceIds: devices.map((device) => this.idOf(device)) },
      ...fields,
    });
    expect({ status, body }).toMatchObject({ status: 201 });
    await this.monitored(body.id, devices);
    return body.id;
  }

  async change(ruleId: string, fields: Partial<RuleFields>): Promise<void> {
    const { body: rule } = await this.api.get<object>(`${RULES}/${ruleId}`);
    expect((await this.api.put(`${RULES}/${ruleId}`, { ...rule, ...fields })).status).toBe(204);
  }

  /** Waits until the rule has states of exactly these devices, all of its last version. */
  async monitored(ruleId: string, devices: readonly string[]): Promise<void> {
    await eventually(async () => {
      const rows = await this.backend.query<{ device_id: string; current: boolean }>(
        `SELECT s.device_id, s.rule_version = r.version AS current FROM event_processing.activity_states s
         JOIN event_processing.activity_rules r ON r.id = s.rule_id WHERE s.rule_id = $1 ORDER BY s.device_id`,
        [ruleId],
      );
      const wanted = devices.map((device) => this.idOf(device)).toSorted();
      expect(rows).toEqual(wanted.map((device) => ({ device_id: device, current: true })));
      return true;
    });
  }

  async states(query: string): Promise<ActivityStateDto[]> {
    const { status, body } = await this.api.get<ActivityStateDto[]>(`${STATES}?${query}`);
    expect({ status, body }).toMatchObject({ status: 200 });
    return body;
  }

  /** The state of a device for a rule, once it is the one that is waited for. */
  state(ruleId: string, device: string, wanted: Partial<ActivityStateDto> = {}): Promise<ActivityStateDto> {
    return eventually(async () => {
      const [state] = await this.states(`activityRuleId=${ruleId}&deviceId=${this.idOf(device)}`);
      expect(state).toMatchObject(wanted);
      return state!;
    });
  }

  /** Lets so much time pass for all states of the tenant. */
  async pass(ms: number): Promise<void> {
    await this.backend.query(
      `WITH locked AS (
         SELECT rule_id, device_id FROM event_processing.activity_states WHERE tenant_id = $1
         ORDER BY device_id, rule_id FOR UPDATE)
       UPDATE event_processing.activity_states s SET quiet_since = quiet_since - i, last_activity = last_activity - i,
         next_alarm = next_alarm - i
       FROM locked l, (SELECT $2 * interval '1 millisecond' AS i) AS passed
       WHERE s.tenant_id = $1 AND s.rule_id = l.rule_id AND s.device_id = l.device_id`,
      [this.id, ms],
    );
  }

  /** Waits until nothing of the tenant is due: the timers have looked at all that was. */
  async looked(): Promise<void> {
    await eventually(async () => {
      const due = await this.backend.query(
        `SELECT 1 FROM event_processing.activity_states WHERE tenant_id = $1 AND next_alarm <= now() - interval '5 seconds'`,
        [this.id],
      );
      const unsent = await this.backend.query('SELECT 1 FROM event_processing.outbox LIMIT 1');
      return due.length === 0 && unsent.length === 0;
    });
  }

  /** Of all devices, or of one, as they came. */
  events(device?: string): DeviceActivityEvent[] {
    const id = device === undefined ? undefined : this.idOf(device);
    return this.heard
      .filter(({ tenantId, type }) => tenantId === this.id && type === 'deviceActivity')
      .map(({ body }) => body as DeviceActivityEvent)
      .filter(({ deviceId }) => id === undefined || deviceId === id);
  }

  /** State, state before and reminders of the events of a device, once there are so many. */
  async told(device: string, count: number): Promise<Array<[string, string, number]>> {
    await eventually(() => this.events(device).length >= count);
    return this.events(device).map((event) => [event.state, event.previousState, event.numberOfAlarmReminders]);
  }

  /** What a connector, or whoever hears the device, reports. */
  report(device: string, type: string, more: object = {}): Promise<void> {
    const deviceId = this.idOf(device);
    return this.publish(deviceId, type, {
      type,
      connector: 'mqtt',
      nodeId: device,
      deviceId,
      timestamp: new Date().toISOString(),
      ...more,
    });
  }

  /** Data of a device, as an application injects it. */
  async send(device: string, value: object = { n: 1 }): Promise<void> {
    const { status } = await this.api.post(`/api/v0/data/streams/${this.idOf(device)}`, {
      value,
      metadata: { source: this.idOf(device) },
    });
    expect(status).toBe(202);
  }
}
