import { createServer as createPlainServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { IConnectPacket } from 'mqtt-packet';
import type { Config } from '@orrery/core/config';
import type { Logger } from '@orrery/core/telemetry';
import { serverCertificate } from '../tls/server-certificate.js';
import { Connection } from './connection.js';
import { Reason } from './return-codes.js';
import { TimerWheel } from './timer-wheel.js';

/** The ports that are listened on; they differ from the configuration when that says 0. */
export class MqttPorts {
  /** MQTT without encryption. */
  plain = 0;
  /** MQTT over TLS. */
  tls = 0;
}

/** Cipher suites of manual 6.2, TLS 1.3 first. */
const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES128-SHA',
  'ECDHE-RSA-AES256-SHA',
  'AES128-GCM-SHA256',
  'AES128-SHA',
  'AES256-SHA',
].join(':');

/** Accepts TCP and TLS connections and keeps them until they end. */
export class Listeners {
  private readonly wheel = new TimerWheel();
  private readonly connections = new Set<Connection>();
  private servers: Server[] = [];

  constructor(
    private readonly config: Config,
    private readonly logger: Logger,
    private readonly ports: MqttPorts,
    private readonly onConnect: (connection: Connection, packet: IConnectPacket) => void,
  ) {}

  async start(): Promise<void> {
    const accept = (socket: Socket): void => {
      const connection = new Connection(socket, this.wheel, this.onConnect);
      this.connections.add(connection);
      connection.onEnd((ending) => {
        this.connections.delete(connection);
        this.logger.debug({ remote: connection.remoteAddress, why: ending.description }, 'connection ended');
      });
    };
    const { cert, key } = await serverCertificate(this.config);
    const plain = createPlainServer({ noDelay: true, keepAlive: true }, accept);
    const tls = createTlsServer(
      {
        cert,
        key,
        minVersion: 'TLSv1.2',
        ciphers: CIPHERS,
        honorCipherOrder: true,
        // Checked with CONNECT, which names the API key: only then is there a code to refuse it with (manual 6.4).
        requestCert: true,
        rejectUnauthorized: false,
        handshakeTimeout: 10_000,
        noDelay: true,
        keepAlive: true,
      },
      accept,
    );
    tls.on('tlsClientError', (error, socket) => {
      this.logger.debug({ remote: socket.remoteAddress, error: error.message }, 'TLS handshake failed');
      socket.destroy();
    });
    this.wheel.start();
    this.ports.plain = await this.listen(plain, this.config.ORRERY_MQTT_PORT);
    this.ports.tls = await this.listen(tls, this.config.ORRERY_MQTTS_PORT);
    this.logger.info({ mqtt: this.ports.plain, mqtts: this.ports.tls }, 'MQTT is served');
  }

  /** Takes no further connections and ends those that are there. */
  stop(): void {
    this.wheel.stop();
    for (const server of this.servers) server.close();
    for (const connection of this.connections)
      connection.close({ description: 'the server is shutting down', reason: Reason.ShuttingDown });
  }

  private listen(server: Server, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, this.config.ORRERY_BIND_ADDRESS, () => {
        server.off('error', reject);
        server.on('error', (error) => this.logger.error({ error, port }, 'an MQTT listener failed'));
        this.servers.push(server);
        resolve((server.address() as AddressInfo).port);
      });
    });
  }
}
