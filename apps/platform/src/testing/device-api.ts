import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import type { Packet } from 'mqtt-packet';
import { type Bus, callRpc } from '@orrery/core/bus';
import { type SectionContents, UNLIMITED_CONTENTS } from '@orrery/core/limits';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import { createTenant } from '@orrery/identity/contract';
import { mqttPorts } from '@orrery/mqtt-connector';
import { services } from '../services.js';

export type Json = Record<string, unknown>;

/** A tenant, and its master key. */
export interface Account {
  tenantId: string;
  apiKey: string;
  api: ApiClient;
}

/** A device that has registered itself. */
export interface Registered {
  id: string;
  accessKey: string;
  /** Of the inventory. */
  path: string;
}

export interface Received {
  topic: string;
  body: Json;
  responseTopic?: string | undefined;
}

/** An MQTT 5 client of a device, and what it has received. */
export interface Connected {
  client: MqttClient;
  messages: Received[];
  topic(name: string): string;
  /** Publishes with QoS 1 and the device's own user properties, unless there are others. @returns the reason code */
  publish(name: string, payload: unknown, userProperties?: Record<string, string>): Promise<number>;
  subscribe(...names: string[]): Promise<void>;
  /** Subscribes to one filter. @returns the code of SUBACK */
  granted(filter: string): Promise<number>;
}

/** All services in one process, with devices of the MQTT 5 device API. */
export interface DeviceApi {
  backend: Backend;
  bus: Bus;
  platform: TestPlatform;
  account(settings?: SectionContents, parentId?: string): Promise<Account>;
  register(account: Account, body?: object): Promise<Registered>;
  connect(device: Registered, options?: IClientOptions, platform?: TestPlatform): Promise<Connected>;
  /** @returns the code of CONNACK */
  refusal(options: IClientOptions): Promise<number>;
  /** Waits for an audit entry of this type about the device. */
  audit(account: Account, device: Registered, type: string): Promise<Json>;
  stop(): Promise<void>;
}

/** Reason code of what mqtt.js rejects with; 0 when it does not. */
export const codeOf = (work: Promise<unknown>): Promise<number> =>
  work.then(
    () => 0,
    (error: { code?: number }) => error.code ?? -1,
  );

export async function startDeviceApi(): Promise<DeviceApi> {
  const backend = await startBackend(services);
  const platform = await backend.boot(services);
  const bus = await backend.bus();
  const clients: MqttClient[] = [];
  let accounts = 0;
  let devices = 0;
  const open = async (options: IClientOptions, on = platform): Promise<MqttClient> =>
    connectAsync({
      host: '127.0.0.1',
      port: mqttPorts(on.app).plain,
      protocolVersion: 5,
      reconnectPeriod: 0,
      ...options,
    });
  return {
    backend,
    bus,
    platform,
    async account(settings = UNLIMITED_CONTENTS, parentId) {
      const name = `account-${++accounts}`;
      const tenant = { name, settings, ...(parentId === undefined ? {} : { parentId }) };
      const { tenantId, masterKey: apiKey } = await callRpc(bus, createTenant, tenant);
      return { tenantId, apiKey, api: apiClient(platform.url, apiKey) };
    },
    async register({ api }, body = { sn: `SN-${++devices}` }) {
      const answer = await api.post<{ id: string; access_key: string }>('/v1/devices/register', body);
      expect([answer.status, answer.body]).toEqual([200, expect.anything()]);
      const { id, access_key: accessKey } = answer.body;
      return { id, accessKey, path: `/api/v1/deviceMgt/devices/urn:lo:nsid:mqtt:${id}` };
    },
    async connect({ id, accessKey }, options = {}, on = platform) {
      const client = await open({ clientId: id, username: id, password: accessKey, ...options }, on);
      clients.push(client);
      client.on('error', () => undefined);
      const messages: Received[] = [];
      client.on('message', (topic, payload, { properties }) =>
        messages.push({
          topic,
          body: JSON.parse(payload.toString('utf8')) as Json,
          responseTopic: properties?.responseTopic,
        }),
      );
      const topic = (name: string): string => `v1/device/${id}/${name}`;
      const own = { device_id: id, access_key: accessKey };
      return {
        client,
        messages,
        topic,
        publish: (name, payload, userProperties = own) =>
          codeOf(
            client.publishAsync(topic(name), typeof payload === 'string' ? payload : JSON.stringify(payload), {
              qos: 1,
              properties: { userProperties },
            }),
          ),
        granted: (filter) =>
          new Promise((resolve) => {
            const hear = (packet: Packet): void => {
              if (packet.cmd !== 'suback') return;
              client.off('packetreceive', hear);
              resolve(packet.granted[0] as number);
            };
            client.on('packetreceive', hear);
            client.subscribe(filter, { qos: 1 }, () => undefined);
          }),
        subscribe: async (...names) => void (await client.subscribeAsync(names.map(topic), { qos: 1 })),
      };
    },
    refusal: (options) => codeOf(open(options).then((client) => client.endAsync(true))),
    audit: (account, { id }, type) =>
      eventually(async () => {
        const query = `source.nodeId=${id}&type=${type}`;
        const { body } = await account.api.get<Json[]>(`/api/v0/auditlog/messages?${query}`);
        return Array.isArray(body) ? body.find((entry) => entry['type'] === type) : undefined;
      }),
    async stop() {
      await Promise.all(clients.map((client) => client.endAsync(true)));
      await backend.stop();
    },
  };
}
