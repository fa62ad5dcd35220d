import { createServer as createPlainServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { IConnectPacket } from 'mqtt-packet';
import type { Config } from '@orrery/core/config';
import type { WebSocketEndpoint, WebSocketRequest } from '@orrery/core/http';
import type { Logger } from '@orrery/core/telemetry';
import { tlsOptions } from '@orrery/core/tls';
import { type WebSocket, WebSocketServer } from 'ws';
import { Connection, MAX_PACKET_BYTES } from './connection.js';
import { type Link, socketLink, webSocketLink } from './link.js';
import { Reason } from './return-codes.js';
import type { Ending } from './session.js';
import { TimerWheel } from './timer-wheel.js';

/** The ports that are listened on; they differ from the configuration when that says 0. */
export class MqttPorts {
  /** MQTT without encryption. */
  plain = 0;
  /** MQTT over TLS. */
  tls = 0;
}

const SHUTTING_DOWN: Ending = { description: 'the server is shutting down', reason: Reason.ShuttingDown };
/**
 * What the bus has, when the process stops, to take the publications that were read. Those that it does not take are not
 * acknowledged: their clients publish them again. WebSockets have less, because the HTTP server ends before.
 */
const DRAIN_MS = { sockets: 8000, webSockets: 3000 };
/** An MQTT packet in one frame, with what frames and packets have around it. */
const MAX_FRAME_BYTES = MAX_PACKET_BYTES + 1024;
/** Sub-protocols of MQTT 3.1 and of all later versions. */
const SUB_PROTOCOLS = ['mqtt', 'mqttv3.1'];

/** Accepts TCP and TLS connections and WebSockets, and keeps them until they end. */
export class Listeners implements WebSocketEndpoint {
  private readonly wheel = new TimerWheel();
  private readonly connections = new Set<Connection>();
  private servers: Server[] = [];
  private closing = false;
  private readonly webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_FRAME_BYTES,
    handleProtocols: (offered) => SUB_PROTOCOLS.find((protocol) => offered.has(protocol)) ?? false,
  });

  constructor(
    private readonly config: Config,
    private readonly logger: Logger,
    private readonly ports: MqttPorts,
    private readonly onConnect: (connection: Connection, packet: IConnectPacket) => void,
  ) {}

  async start(): Promise<void> {
    const accept = (socket: Socket): void => void this.connect(socketLink(socket));
    const plain = createPlainServer({ noDelay: true, keepAlive: true }, accept);
    const tls = createTlsServer(
      {
        ...(await tlsOptions(this.config)),
        // Checked with CONNECT, which names the API key: only then is there a code to refuse it with (manual 6.4).
        requestCert: true,
        rejectUnauthorized: false,
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

  /** MQTT over WebSocket (manual 6.2). */
  accept(request: WebSocketRequest): void {
    this.webSockets.handleUpgrade(request.request, request.socket, request.head, (webSocket: WebSocket) => {
      // Before the stream takes it for bytes of MQTT.
      webSocket.on('message', (_, isBinary) => {
        if (!isBinary) connection.close({ description: 'a text frame', reason: Reason.ProtocolError });
      });
      // As of the other ports: a session without keep alive would outlive a client that vanishes without a word.
      request.socket.setKeepAlive(true);
      webSocket.on('error', (error) => this.logger.debug({ error: error.message }, 'a WebSocket failed'));
      const connection = this.connect(webSocketLink(webSocket, request));
    });
  }

  /** Ends the WebSockets, as `stop` does it with all. */
  async close(): Promise<void> {
    this.closing = true;
    const webSockets = [...this.connections].filter(({ link }) => link.stream !== link.socket);
    await this.drain(webSockets, DRAIN_MS.webSockets);
  }

  /**
   * Takes no further connections and reads nothing more. What was read is answered, then clients are told, and their
   * connections end.
   */
  async stop(): Promise<void> {
    this.closing = true;
    for (const server of this.servers) server.close();
    await this.drain([...this.connections], DRAIN_MS.sockets);
    this.wheel.stop();
  }

  private async drain(connections: Connection[], withinMs: number): Promise<void> {
    const late = setTimeout(() => connections.forEach((each) => each.close(SHUTTING_DOWN)), withinMs);
    await Promise.all(connections.map((each) => each.drain(SHUTTING_DOWN)));
    clearTimeout(late);
  }

  private connect(link: Link): Connection {
    const connection = new Connection(link, this.wheel, this.onConnect);
    this.connections.add(connection);
    connection.onEnd((ending) => {
      this.connections.delete(connection);
      this.logger.debug({ remote: connection.remoteAddress, why: ending.description }, 'connection ended');
    });
    // Its handshake began before.
    if (this.closing) connection.close(SHUTTING_DOWN);
    return connection;
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
