import type { IConnectPacket } from 'mqtt-packet';
import type { Audit } from '@orrery/core/audit';
import type { ApiKeyIdentity, ApiKeys } from '@orrery/core/auth';
import { type Bus, callRpc, VersionedCache } from '@orrery/core/bus';
import { findMasterKey } from '@orrery/identity/contract';
import type { DeviceMode } from '../device-mode/device-mode.js';
import type { ConnectionLimits } from '../limits/connection-limits.js';
import type { Connection } from '../server/connection.js';
import { Reason, Refusal } from '../server/return-codes.js';
import { type Credentials, type Door, refusalAudit } from '../sessions/admission.js';
import type { KeyHolder, KeyWatch } from '../sessions/key-watch.js';
import { SessionAudit } from '../sessions/session-audit.js';
import { DeviceAccesses, hashAccessKey } from './device-accesses.js';
import { V1DeviceSession } from './v1-device-session.js';

const CACHED_TENANTS = 10_000;

/**
 * The MQTT 5 device API: devices that have registered themselves log in with their DEVICE_ID as client id and user name,
 * and their ACCESS_KEY as password. The login names no tenant; the DEVICE_ID is unique in the platform. Otherwise their
 * sessions are those of device mode, with its limits. They stand as long as the account does: its state and its limits are
 * those of its master key.
 */
export class V1DeviceMode implements Door {
  private readonly accesses: DeviceAccesses;
  private readonly masterKeys: VersionedCache<{ hash: string }>;

  constructor(
    private readonly bus: Bus,
    private readonly audit: Audit,
    private readonly apiKeys: ApiKeys,
    private readonly keyWatch: KeyWatch,
    private readonly limits: ConnectionLimits,
    private readonly devices: DeviceMode,
  ) {
    this.accesses = new DeviceAccesses(bus);
    this.masterKeys = new VersionedCache((tenantId) => callRpc(bus, findMasterKey, { tenantId }), CACHED_TENANTS);
  }

  start(): void {
    this.accesses.start();
  }

  stop(): void {
    this.accesses.stop();
  }

  async admit(connection: Connection, packet: IConnectPacket): Promise<boolean> {
    const { username = '', password, clientId } = packet;
    const access = await this.accesses.find(username);
    if (!access) return false;
    const { tenantId, keyHash, apiKeyId } = access;
    const client = { tenantId, clientId: clientId.slice(0, 256), apiKeyId };
    const audit = new SessionAudit(this.audit, client, () => undefined);
    const refuse = (code: Refusal, description: string, reason?: Reason): true => {
      refusalAudit(audit, connection, description);
      connection.refuse(code, description, reason);
      return true;
    };
    const accessKey = password?.toString() ?? '';
    if (hashAccessKey(accessKey) !== keyHash) return refuse(Refusal.Credentials, 'password: expected the access key');
    if (connection.protocolVersion !== 5) return refuse(Refusal.Credentials, 'an access key needs MQTT 5');
    if (clientId !== username) return refuse(Refusal.Identifier, 'client id: expected the user name');

    const { hash } = await this.masterKeys.get(tenantId);
    const { state, key } = await this.apiKeys.findByHash(hash);
    if (connection.closed) return true;
    if (state !== 'valid' || !key) return refuse(Refusal.Credentials, 'the account is deactivated');
    const holder = new AccountHolder(hash, key, apiKeyId, connection);
    this.keyWatch.add(holder);
    connection.onEnd(() => this.keyWatch.remove(holder));
    const reached = await this.limits.take(connection, clientId, this.devices, key, audit);
    // The limits have written into the audit log.
    if (reached !== undefined) connection.refuse(Refusal.Unavailable, 'a limit of the offer is reached', reached);
    if (connection.closed) return true;
    const credentials: Credentials = {
      username,
      get key() {
        return holder.credential;
      },
    };
    await this.devices.open(
      connection,
      packet,
      credentials,
      (...parts) => new V1DeviceSession({ bus: this.bus, accesses: this.accesses, accessKey }, ...parts),
    );
    return true;
  }
}

/** A connection that ends with the account of its device. */
class AccountHolder implements KeyHolder {
  /** What is in force for the account, in the name of the key by which the device registered. */
  credential: ApiKeyIdentity;

  constructor(
    readonly hash: string,
    master: ApiKeyIdentity,
    private readonly apiKeyId: string,
    private readonly connection: Connection,
  ) {
    this.credential = { ...master, id: apiKeyId };
  }

  get key(): ApiKeyIdentity {
    return this.credential;
  }

  set key(master: ApiKeyIdentity) {
    this.credential = { ...master, id: this.apiKeyId };
  }

  permitted(): boolean {
    return true;
  }

  revoked(): void {
    this.connection.close({ description: 'the account is deactivated', reason: Reason.NotAuthorized });
  }
}
