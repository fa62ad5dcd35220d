import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { Pool } from 'pg';
import { connect as connectMqtt, type IClientOptions, type MqttClient } from 'mqtt';
import { type ApiClient, apiClient } from '@orrery/core/testing';
import { freePort } from '../tools/services/free-port.mjs';
import { startPlatform, type Platform, type PlatformProcess } from '../tools/platform.mjs';

/** The whole platform, as `npm run up` starts it, on free ports and in a directory of its own. */
export interface EndToEnd {
  platform: Platform;
  apiKey: string;
  api: ApiClient;
  /** The development certificate authority. */
  ca: Buffer;
  /** Connects with mqtt.js; closed at the end of the file if it still is open. */
  mqtt(
    options: IClientOptions & { secure?: boolean; maxVersion?: ConnectionOptions['maxVersion'] },
  ): Promise<MqttClient>;
  /** A device of the first tenant. */
  device(clientId: string, options?: IClientOptions): Promise<MqttClient>;
  /** A business application of the first tenant, over TLS. */
  application(apiKey?: string, options?: IClientOptions): Promise<MqttClient>;
  query<Row>(sql: string, parameters?: unknown[]): Promise<Row[]>;
  /** A process by its name. */
  process(name: string): PlatformProcess;
  stop(): Promise<void>;
}

export async function startEndToEnd(
  options: { separate?: boolean; replicas?: number; env?: NodeJS.ProcessEnv } = {},
): Promise<EndToEnd> {
  const dataDir = await mkdtemp(join(tmpdir(), 'orrery-e2e-'));
  const { DATABASE_URL: _d, NATS_URL: _n, REDIS_URL: _r, ...inherited } = process.env;
  // ORRERY_E2E_LOG=<file> keeps what the processes say.
  const output = process.env['ORRERY_E2E_LOG'] ? openSync(process.env['ORRERY_E2E_LOG'], 'a') : 'ignore';
  const platform = await startPlatform({
    dataDir,
    ...(options.separate === undefined ? {} : { separate: options.separate }),
    ...(options.replicas === undefined ? {} : { replicas: options.replicas }),
    output,
    env: {
      ...inherited,
      ORRERY_BIND_ADDRESS: '127.0.0.1',
      ORRERY_HTTP_PORT: String(await freePort()),
      ORRERY_HTTPS_PORT: String(await freePort()),
      ORRERY_MQTT_PORT: String(await freePort()),
      ORRERY_MQTTS_PORT: String(await freePort()),
      // Nobody loses a lease because the machine is busy.
      ORRERY_LEASE_TTL_MS: '20000',
      ORRERY_STREAM_MAX_BYTES: String(64 << 20),
      ORRERY_LOG_LEVEL: 'info',
      ...options.env,
    },
  });
  const ca = await readFile(platform.caFile);
  const sql = new Pool({ connectionString: platform.services.databaseUrl, max: 1 });
  // The server may end, and come back.
  sql.on('error', () => undefined);
  const clients: MqttClient[] = [];
  const apiKey = platform.apiKey!;

  const mqtt: EndToEnd['mqtt'] = async ({ secure, ...rest }) => {
    const client = connectMqtt({
      host: 'localhost',
      servername: 'localhost',
      protocol: secure ? 'mqtts' : 'mqtt',
      port: secure ? platform.mqttsPort : platform.mqttPort,
      protocolVersion: 4,
      reconnectPeriod: 0,
      ...(secure ? { ca } : {}),
      ...rest,
    });
    clients.push(client);
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.once('error', reject);
      client.once('close', () => reject(new Error('closed before CONNACK')));
    });
    return client;
  };
  return {
    platform,
    apiKey,
    api: apiClient(platform.httpUrl, apiKey),
    ca,
    mqtt,
    device: (clientId, more = {}) => mqtt({ clientId, username: 'json+device', password: apiKey, ...more }),
    application: (key = apiKey, more = {}) =>
      mqtt({ clientId: 'application', username: 'application', password: key, secure: true, ...more }),
    query: async <Row>(text: string, parameters?: unknown[]) => (await sql.query(text, parameters)).rows as Row[],
    process(name) {
      const found = platform.processes.find((each) => each.name === name);
      if (!found) throw new Error(`no process ${name} among ${platform.processes.map((each) => each.name).join(', ')}`);
      return found;
    },
    async stop() {
      await Promise.all(clients.map((client) => client.endAsync(true)));
      await sql.end();
      await platform.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Collects what a client receives, in order. */
export function received(client: MqttClient): Array<{ topic: string; payload: Record<string, unknown> }> {
  const messages: Array<{ topic: string; payload: Record<string, unknown> }> = [];
  client.on('message', (topic, payload) =>
    messages.push({ topic, payload: JSON.parse(payload.toString()) as Record<string, unknown> }),
  );
  return messages;
}
