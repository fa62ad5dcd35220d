import { connect as connectPlain } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import mqtt from 'mqtt-packet';
import type { IConnectPacket, Packet } from 'mqtt-packet';
import { eventually } from '@orrery/core/testing';

/** A client of the bare protocol: sends what a library would not, and sees every byte. */
export class RawClient {
  readonly packets: Packet[] = [];
  bytes = Buffer.alloc(0);
  closed = false;
  private version = 4;

  constructor(readonly socket: Duplex) {
    const parser = mqtt.parser({ protocolVersion: 4 } as Parameters<typeof mqtt.parser>[0]);
    parser.on('packet', (packet: Packet) => this.packets.push(packet));
    socket.on('data', (chunk: Buffer) => {
      this.bytes = Buffer.concat([this.bytes, chunk]);
      (parser as unknown as { settings: object }).settings = { protocolVersion: this.version };
      parser.parse(chunk);
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
    });
  }

  static async open(port: number, tls?: ConnectionOptions): Promise<RawClient> {
    const socket = tls
      ? connectTls({ port, host: '127.0.0.1', servername: 'localhost', ...tls })
      : connectPlain(port, '127.0.0.1');
    await new Promise<void>((resolve, reject) => {
      socket.once(tls ? 'secureConnect' : 'connect', resolve);
      socket.once('error', reject);
    });
    socket.setNoDelay(true);
    return new RawClient(socket);
  }

  send(packet: Packet | ({ cmd: 'connect' } & Partial<IConnectPacket>)): void {
    if (packet.cmd === 'connect') this.version = (packet as IConnectPacket).protocolVersion ?? 4;
    this.socket.write(mqtt.generate(packet as Packet, { protocolVersion: this.version }));
  }

  /** Reads what comes as MQTT 5, as it does after a CONNECT that says so. */
  expect5(): void {
    this.version = 5;
  }

  sendBytes(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Sends CONNECT and resolves with the code of the answer. */
  async connect(
    username: string | undefined,
    password: string | undefined,
    clientId: string,
    options: Partial<IConnectPacket> = {},
  ): Promise<number> {
    this.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      // Its tests may be slow, and it never pings by itself.
      keepalive: 600,
      clientId,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password: Buffer.from(password) }),
      ...options,
    } as IConnectPacket);
    const answer = await this.next('connack');
    return this.version === 5 ? answer.reasonCode! : answer.returnCode!;
  }

  /** Takes the next packet of this kind, waiting for it. */
  async next<Command extends Packet['cmd']>(cmd: Command): Promise<Extract<Packet, { cmd: Command }>> {
    const at = await eventually(() => {
      const found = this.packets.findIndex((packet) => packet.cmd === cmd);
      if (found >= 0) return { found };
      if (this.closed) throw new Error(`closed before ${cmd}`);
      return undefined;
    });
    return this.packets.splice(at.found, 1)[0] as Extract<Packet, { cmd: Command }>;
  }

  publish(topic: string, payload: string | Buffer, messageId?: number, qos: 0 | 1 | 2 = messageId ? 1 : 0): void {
    this.send({
      cmd: 'publish',
      topic,
      payload,
      qos,
      dup: false,
      retain: false,
      ...(messageId === undefined ? {} : { messageId }),
    });
  }

  async subscribe(topics: string | string[], qos: 0 | 1 | 2 = 1, messageId = 1): Promise<number[]> {
    this.send({
      cmd: 'subscribe',
      messageId,
      subscriptions: [topics].flat().map((topic) => ({ topic, qos })),
    });
    return (await this.next('suback')).granted as number[];
  }

  async ping(): Promise<void> {
    this.send({ cmd: 'pingreq' });
    await this.next('pingresp');
  }

  isClosed(timeoutMs?: number): Promise<boolean> {
    return eventually(() => this.closed, timeoutMs);
  }

  end(): void {
    this.socket.destroy();
  }
}
