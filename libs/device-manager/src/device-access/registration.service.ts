import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import type { Config } from '@orrery/core/config';
import { type Database, writeOutbox } from '@orrery/core/database';
import { ApiError, invalidParameters } from '@orrery/core/http';
import type { EntityManager } from 'typeorm';
import { changeInventory } from '../conflicts.js';
import { connectorOf, offeredConnector } from '../connectors/connectors.js';
import { mqtt } from '../connectors/mqtt.js';
import type { DeviceAccess } from '../contract.js';
import { lockDevices } from '../devices/inventory.js';
import { changeNotice } from '../events/device-events.js';
import { ChangedMeanwhile } from '../nodes/new-nodes.js';
import type { NodesService } from '../nodes/nodes.service.js';
import { macDigits, type RegistrationDto, type RegistrationView } from './registration.dto.js';

const ATTEMPTS = 5;
/** Two devices with one serial number, or one address, register at the same time: the second is then found. */
const TAKEN = new Set(['device_accesses_sn', 'device_accesses_mac']);

const hashOf = (accessKey: string): string => createHash('sha256').update(accessKey).digest('hex');

interface Access {
  id: string;
  device_id: string;
}

/** What a device tells of itself, as it is kept. */
interface Identity {
  name: string | null;
  sn: string | null;
  mac: string | null;
  firmwareVersion: string | null;
}

/** Devices that register themselves and log in with an access key, which is no API key. */
export class RegistrationService {
  constructor(
    private readonly database: Database,
    private readonly nodes: NodesService,
    private readonly config: Config,
  ) {}

  /**
   * Registers the device, or renews the access key of one that is known by its serial number or its address.
   * @throws ApiError 400 without both; CONFLICT when they are those of two devices; GENERIC_QUOTA_EXCEEDED_ERROR
   */
  async register(key: ApiKeyIdentity, body: RegistrationDto): Promise<RegistrationView> {
    const connector = offeredConnector(key, mqtt.id);
    const { name = null, sn = null, mac = null, firmware_version: firmwareVersion = null } = body;
    if (sn === null && mac === null)
      throw invalidParameters(['sn', 'mac'].map((field) => ({ field, expected: 'one of sn and mac' })));
    const told: Identity = { name, sn, mac: mac === null ? null : macDigits(mac), firmwareVersion };
    const accessKey = randomBytes(32).toString('base64url');
    const id = await this.attempt((manager) => this.renewOrCreate(manager, key, told, hashOf(accessKey), connector.id));
    return { id, access_key: accessKey, ...this.hubs() };
  }

  /** Answers `findDeviceAccess` of the contract. */
  async find(id: string): Promise<DeviceAccess | null> {
    const [row] = await this.database.query<DeviceAccess>(
      `SELECT tenant_id AS "tenantId", key_hash AS "keyHash", api_key_id AS "apiKeyId" FROM device_accesses WHERE id = $1`,
      [id],
    );
    return row ?? null;
  }

  private async attempt<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result> {
    for (let attempt = 1; ; attempt++)
      try {
        return await changeInventory(this.database, work);
      } catch (error) {
        const { constraint } = (error as { driverError?: { constraint?: string } }).driverError ?? {};
        const again = error instanceof ChangedMeanwhile || (constraint !== undefined && TAKEN.has(constraint));
        if (!again || attempt === ATTEMPTS) throw error;
      }
  }

  private async renewOrCreate(
    manager: EntityManager,
    key: ApiKeyIdentity,
    told: Identity,
    keyHash: string,
    connector: string,
  ): Promise<string> {
    const known = (await manager.query(
      'SELECT id, device_id FROM device_accesses WHERE tenant_id = $1 AND (sn = $2 OR mac = $3)',
      [key.tenantId, told.sn, told.mac],
    )) as Access[];
    if (known.length > 1) throw new ApiError('CONFLICT', 'sn and mac are those of two devices');
    const [access] = known;
    if (access) await this.renew(manager, key, access, told, keyHash, connector);
    return access?.id ?? this.create(manager, key, told, keyHash, connector);
  }

  private async create(
    manager: EntityManager,
    { tenantId, id: apiKeyId, limits }: ApiKeyIdentity,
    { name, sn, mac, firmwareVersion }: Identity,
    keyHash: string,
    connector: string,
  ): Promise<string> {
    const id = randomUUID();
    const named = [sn === null ? [] : [`serial number ${sn}`], mac === null ? [] : [`MAC address ${mac}`]].flat();
    const deviceId = await this.nodes.register(manager, {
      tenantId,
      connector: connectorOf(connector),
      nodeId: id,
      limits,
      told: { name, description: `This device registered itself with ${named.join(' and ')}` },
    });
    await manager.query(
      `INSERT INTO device_accesses
         (id, tenant_id, device_id, key_hash, api_key_id, sn, mac, firmware_version, created, updated)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)`,
      [id, tenantId, deviceId, keyHash, apiKeyId, sn, mac, firmwareVersion, new Date()],
    );
    // Whoever asked for it before was told that there is none.
    await writeOutbox(manager, [changeNotice({ tenantId, deviceId, nodes: [{ connector, nodeId: id }] })]);
    return id;
  }

  // The name stays: somebody may have changed it.
  private async renew(
    manager: EntityManager,
    { tenantId, id: apiKeyId, limits }: ApiKeyIdentity,
    { id, device_id: deviceId }: Access,
    { sn, mac, firmwareVersion }: Identity,
    keyHash: string,
    connector: string,
  ): Promise<void> {
    await lockDevices(manager, tenantId, [deviceId]).catch(() => {
      throw new ChangedMeanwhile();
    });
    const interfaces = (await manager.query(
      'SELECT 1 FROM interfaces WHERE tenant_id = $1 AND connector = $2 AND node_id = $3',
      [tenantId, connector, id],
    )) as unknown[];
    // Somebody has deleted it.
    if (interfaces.length === 0)
      await this.nodes.register(manager, { tenantId, connector: connectorOf(connector), nodeId: id, limits });
    const [, renewed] = (await manager.query(
      `UPDATE device_accesses SET key_hash = $3, api_key_id = $4, sn = coalesce($5, sn), mac = coalesce($6, mac),
         firmware_version = coalesce($7, firmware_version), updated = $8
       WHERE id = $1 AND tenant_id = $2`,
      [id, tenantId, keyHash, apiKeyId, sn, mac, firmwareVersion, new Date()],
    )) as [unknown, number];
    if (renewed === 0) throw new ChangedMeanwhile();
    await writeOutbox(manager, [changeNotice({ tenantId, deviceId, nodes: [{ connector, nodeId: id }] })]);
  }

  /** Where the device finds the platform: HTTP, and MQTT over TLS. */
  private hubs(): Pick<RegistrationView, 'hub_url' | 'mqtt_hub_url'> {
    const { ORRERY_PUBLIC_URL, ORRERY_MQTT_DEVICE_HOST, ORRERY_MQTTS_PORT } = this.config;
    const { hostname } = new URL(ORRERY_PUBLIC_URL);
    return {
      hub_url: ORRERY_PUBLIC_URL.replace(/\/+$/, ''),
      mqtt_hub_url: `mqtts://${ORRERY_MQTT_DEVICE_HOST ?? hostname}:${ORRERY_MQTTS_PORT}`,
    };
  }
}
