import type { IConnectPacket } from 'mqtt-packet';
import type { Audit } from '@orrery/core/audit';
import type { ApiKeyIdentity, ApiKeys, ApiKeyState, Role } from '@orrery/core/auth';
import type { Logger } from '@orrery/core/telemetry';
import type { ConnectionLimits } from '../limits/connection-limits.js';
import type { ModeLimits } from '../limits/mode-limits.js';
import type { Connection } from '../server/connection.js';
import { Reason, Refusal } from '../server/return-codes.js';
import { type ClientCertificates, type Proof, suffices } from './client-certificates.js';
import { type KeyHolder, type KeyWatch } from './key-watch.js';
import { CONNECTOR, SessionAudit } from './session-audit.js';

/** What a client has shown: the key stays current while the connection lives. */
export interface Credentials {
  readonly username: string;
  readonly key: ApiKeyIdentity;
}

/** A mode of manual 6, selected by the user name. */
export interface Mode {
  readonly username: string;
  /** One of them is needed. */
  readonly roles: readonly Role[];
  readonly needsTls: boolean;
  /** Keys that are restrained to FIFOs may be used; for all else they are good for nothing (manual 4.3). */
  readonly servesFifos?: boolean;
  readonly limits: ModeLimits;
  /** Whether a session of the client is here which ends when a new one opens. */
  replaces?(tenantId: string, clientId: string): boolean;
  /**
   * Whether a client certificate with this common name is the client's (manual 6.3.4); any is when absent.
   * @throws RpcUnavailableError
   */
  ownsName?(tenantId: string, clientId: string, commonName: string): Promise<boolean>;
  /** Accepts or refuses; the client id has the right characters already. */
  open(connection: Connection, packet: IConnectPacket, credentials: Credentials): Promise<void>;
}

/** A way in for clients whose user name is no mode's. */
export interface Door {
  /** @returns whether it has decided: accepted or refused. */
  admit(connection: Connection, packet: IConnectPacket): Promise<boolean>;
}

interface Problem {
  code: Refusal;
  description: string;
}

/** Manual 6.5.1 and 16.2.2.2. */
const CLIENT_ID = /^[\w:-]{1,128}$/;

/** Decides on CONNECT: who is this, and may they (manual 6.1.1 and 6.4). */
export class Admission {
  constructor(
    private readonly apiKeys: ApiKeys,
    private readonly keyWatch: KeyWatch,
    private readonly certificates: ClientCertificates,
    private readonly limits: ConnectionLimits,
    private readonly audit: Audit,
    private readonly logger: Logger,
    private readonly modes: readonly Mode[],
    private readonly otherwise: Door,
    /** Host name on which only devices are served (manual 6.2). */
    private readonly deviceHost: string | undefined,
  ) {}

  connect(connection: Connection, packet: IConnectPacket): void {
    this.admit(connection, packet).catch((error: unknown) => {
      this.logger.warn({ error: String(error) }, 'could not decide on a connection');
      connection.refuse(Refusal.Unavailable);
    });
  }

  private async admit(connection: Connection, packet: IConnectPacket): Promise<void> {
    const { username = '', password, clientId } = packet;
    const mode = this.modes.find((each) => each.username === username);
    if (!mode && (await this.otherwise.admit(connection, packet))) return;
    const found = password ? await this.apiKeys.find(password.toString()) : undefined;
    if (connection.closed) return;
    const problem = this.problem(connection, username, mode, found, clientId);
    if (problem || !mode || !found?.key) {
      if (found?.key && problem) this.auditRefusal(found.key, clientId, connection, problem);
      connection.refuse(problem?.code ?? Refusal.Credentials, found?.key && problem?.description);
      return;
    }
    const certificate = connection.peerCertificate;
    const proof: Proof = { presented: certificate !== undefined };
    const holder: KeyHolder = {
      hash: found.hash,
      key: found.key,
      permitted: (key) =>
        permits(mode, key) && suffices(proof, key) && (!mode.servesFifos || keepsFifos(holder.key, key)),
      revoked: () =>
        connection.close({
          description: 'the API key does not permit this session any more',
          reason: Reason.NotAuthorized,
        }),
    };
    this.keyWatch.add(holder);
    connection.onEnd(() => this.keyWatch.remove(holder));
    const unproved = await this.certificates.check(
      certificate,
      proof,
      holder.key,
      mode.ownsName && ((name) => mode.ownsName!(holder.key.tenantId, clientId, name)),
    );
    if (connection.closed) return;
    if (unproved !== undefined) {
      const code = connection.link.asksCertificate ? Refusal.NotAuthorized : Refusal.Credentials;
      this.auditRefusal(holder.key, clientId, connection, { code, description: unproved });
      connection.refuse(code, unproved);
      return;
    }
    const reached = await this.limits.take(connection, clientId, mode, holder.key, this.auditOf(holder.key, clientId));
    if (reached !== undefined) connection.refuse(Refusal.Unavailable, 'a limit of the offer is reached', reached);
    if (connection.closed) return;
    connection.clientCertAuthentication = proof.authorityId !== undefined;
    await mode.open(connection, packet, {
      username,
      get key() {
        return holder.key;
      },
    });
  }

  private problem(
    connection: Connection,
    username: string,
    mode: Mode | undefined,
    found: { state: ApiKeyState; key?: ApiKeyIdentity } | undefined,
    clientId: string,
  ): Problem | undefined {
    if (mode?.needsTls || username === 'connector') {
      if (!connection.secure)
        return { code: Refusal.NotAuthorized, description: `user name "${username}" needs an encrypted connection` };
      if (this.deviceHost !== undefined && connection.link.hostName === this.deviceHost)
        return {
          code: Refusal.NotAuthorized,
          description: `user name "${username}": the host ${this.deviceHost} is for devices alone`,
        };
    }
    if (!mode) {
      const known = this.modes.map((each) => each.username).join(' or ');
      return { code: Refusal.Credentials, description: `user name "${username.slice(0, 64)}": expected ${known}` };
    }
    if (found?.state !== 'valid' || !found.key)
      return { code: Refusal.Credentials, description: 'the API key is expired, not yet valid or deactivated' };
    if (restrained(mode, found.key))
      return { code: Refusal.Credentials, description: 'the API key is restrained to FIFOs' };
    if (!permits(mode, found.key))
      return { code: Refusal.Credentials, description: `the API key needs the role ${mode.roles.join(' or ')}` };
    if (!CLIENT_ID.test(clientId))
      return {
        code: Refusal.Identifier,
        description: 'client id: expected 1 to 128 letters, digits, colons, hyphens and underscores',
      };
    return undefined;
  }

  private auditRefusal(key: ApiKeyIdentity, clientId: string, connection: Connection, problem: Problem): void {
    refusalAudit(this.auditOf(key, clientId), connection, problem.description);
  }

  private auditOf({ tenantId, id }: ApiKeyIdentity, clientId: string): SessionAudit {
    const client = { tenantId, clientId: clientId.slice(0, 256), apiKeyId: id };
    return new SessionAudit(this.audit, client, () => undefined);
  }
}

/** The entry that every refused connection of a known tenant leaves (manual 19.2). */
export const refusalAudit = (audit: SessionAudit, connection: Connection, description: string): void =>
  audit.error('connection_refused', `Connection refused: ${description}`, {
    connector: CONNECTOR,
    remoteAddress: connection.remoteAddress,
  });

const restrained = (mode: Mode, key: ApiKeyIdentity): boolean => key.fifos.length > 0 && !mode.servesFifos;

const permits = (mode: Mode, key: ApiKeyIdentity): boolean =>
  !restrained(mode, key) && mode.roles.some((role) => key.roles.includes(role));

/** A session may be subscribed to any FIFO that its key could be used for. */
const keepsFifos = (before: ApiKeyIdentity, after: ApiKeyIdentity): boolean =>
  !before.roles.includes('BUS_R') ||
  (after.roles.includes('BUS_R') &&
    (after.fifos.length === 0 ||
      (before.fifos.length > 0 && before.fifos.every((fifoName) => after.fifos.includes(fifoName)))));
