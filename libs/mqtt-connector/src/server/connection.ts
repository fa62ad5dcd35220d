import type { X509Certificate } from 'node:crypto';
import mqtt from 'mqtt-packet';
import type { IConnectPacket, Packet } from 'mqtt-packet';
import { Hold } from './hold.js';
import { type Link, type Security, securityOf } from './link.js';
import { PacketReader } from './packet-reader.js';
import { problemOf, refusalOfConnect } from './packet-rules.js';
import { PublicationQueue, type Publication } from './publication-queue.js';
import { Reason, REFUSAL_REASONS, Refusal } from './return-codes.js';
import type { Ending, Session } from './session.js';
import type { Timed, TimerWheel } from './timer-wheel.js';
import { endStream, flushSoon } from './writing.js';

/** A value of 1 MiB must pass with everything around it (manual 23.3). */
export const MAX_PACKET_BYTES = 4 << 20;
/** Will and credentials of 64 KiB each: nobody who is not known yet may make the server hold more. */
const MAX_CONNECT_BYTES = 512 << 10;
const CONNECT_WITHIN_MS = 10_000;
/** What is parsed before it is asked whether to go on: a frame of a WebSocket may hold a million packets. */
const PARSED_AT_ONCE_BYTES = 64 << 10;
/**
 * What the client has not read yet: beyond the first nothing is delivered, beyond the second nothing is read from it
 * that would have to be answered, beyond the third it is cut off.
 */
export const OUTPUT_BYTES = { full: 1 << 20, silent: 2 << 20, limit: 16 << 20 };

const PINGRESP = Buffer.from([0xd0, 0]);
const INVALID_VERSION = 'Invalid protocol version';

/** One client: parses its packets, answers what the protocol alone decides, and hands the rest to its session. */
export class Connection implements Timed {
  /** 3, 4 or 5; 4 until CONNECT tells. */
  protocolVersion = 4;
  /** The client has proved by a certificate who it is (manual 6.3.4). */
  clientCertAuthentication = false;
  private state: 'new' | 'connecting' | 'open' | 'closed' = 'new';
  private session?: Session;
  private readonly reader: PacketReader;
  private readonly publications = new PublicationQueue();
  private readonly accepted = Date.now();
  private lastSeen = this.accepted;
  /** Seconds; 0 for no check. */
  private keepAlive = 0;
  /** Bytes that came before CONNECT was complete. */
  private received = 0;
  /** A client with a small buffer might not have room for a text (MQTT 5, 3.14.2.2.3). */
  private takesReasons = true;
  private holds = 0;
  private early: Packet[] = [];
  private output: Buffer[] = [];
  private outputBytes = 0;
  private flushing = false;
  /** Bytes written to the stream, and how many of them the client had read when it was last asked for. */
  private written = 0;
  private read = 0;
  private readonly endListeners: Array<(ending: Ending) => void> = [];
  private ending?: Ending;
  private writable?: () => void;
  /** With which the connection ends once all that was read is answered. */
  private drained?: Ending;
  private lingers = false;

  constructor(
    readonly link: Link,
    private readonly wheel: TimerWheel,
    private readonly onConnect: (connection: Connection, packet: IConnectPacket) => void,
  ) {
    this.reader = new PacketReader(
      (packet) => this.onPacket(packet),
      (problem) => this.onMalformed(problem),
    );
    const { stream, socket } = link;
    socket.on('data', (chunk: Buffer) => this.onBytes(chunk.length));
    stream.on('data', (chunk: Buffer) => this.onData(chunk));
    stream.on('drain', () => this.becameWritable());
    stream.on('error', () => stream.destroy());
    stream.on('close', () => this.ended({ description: 'the connection was closed by the client or the network' }));
    wheel.add(this);
  }

  get closed(): boolean {
    return this.state === 'closed';
  }

  /** For the wheel alone. */
  deadline(): number | undefined {
    if (this.state === 'new') return this.accepted + CONNECT_WITHIN_MS;
    if (this.state !== 'open' || this.keepAlive === 0) return undefined;
    // While the server does not read, the client's silence is not its own, unless it does not read either.
    const read = this.written - this.link.stream.writableLength;
    if (this.holds > 0 && (this.holds !== Hold.Output || read > this.read)) this.lastSeen = Date.now();
    this.read = read;
    return this.lastSeen + this.keepAlive * 1500;
  }

  /** For the wheel alone. */
  expired(): void {
    this.close(
      this.state === 'new'
        ? { description: 'no CONNECT in time' }
        : {
            description: `nothing was received for 1.5 times the keep alive of ${this.keepAlive} s`,
            reason: Reason.KeepAliveTimeout,
          },
    );
  }

  get secure(): boolean {
    return this.link.secure;
  }

  get remoteAddress(): string {
    return this.link.remoteAddress;
  }

  /** Bytes that the client has not read yet. */
  get backlog(): number {
    return this.link.stream.writableLength + this.outputBytes;
  }

  /** What the client presented in the handshake, which nobody has checked. */
  get peerCertificate(): X509Certificate | undefined {
    return this.link.asksCertificate ? this.link.tls?.getPeerX509Certificate() : undefined;
  }

  get security(): Security {
    return { ...securityOf(this.link), clientCertAuthentication: this.clientCertAuthentication };
  }

  /** Sends CONNACK and lets the session have what the client sends. @param keepAlive seconds, 0 for no check (manual 6.1.2). */
  accept(session: Session, keepAlive: number): void {
    if (this.closed) return;
    this.state = 'open';
    this.session = session;
    this.sendPacket({
      cmd: 'connack',
      sessionPresent: false,
      returnCode: 0,
      reasonCode: 0,
      properties: {
        sessionExpiryInterval: 0,
        maximumPacketSize: MAX_PACKET_BYTES,
        wildcardSubscriptionAvailable: false,
        subscriptionIdentifiersAvailable: false,
        sharedSubscriptionAvailable: false,
      },
    });
    this.keepAlive = keepAlive;
    this.wheel.add(this);
    for (const packet of this.early.splice(0)) this.onPacket(packet);
    this.release(Hold.Connecting);
  }

  /**
   * Sends CONNACK with this code and closes.
   * @param description told to MQTT 5 clients.
   * @param reason for MQTT 5 clients, when it can be said better.
   */
  refuse(code: Refusal, description?: string, reason: number = REFUSAL_REASONS[code]): void {
    if (this.closed) return;
    this.sendPacket({
      cmd: 'connack',
      sessionPresent: false,
      returnCode: code,
      reasonCode: reason,
      ...this.reasonString(description),
    });
    this.close({ description: `refused with code ${code}` });
  }

  /** Reads nothing more, and ends when all that was read is answered. Resolves when the client is gone. */
  async drain(ending: Ending): Promise<void> {
    const { stream } = this.link;
    this.lingers = true;
    if (this.state === 'connecting') this.refuse(Refusal.Unavailable, ending.description);
    else if (this.state === 'new' || this.publications.empty) this.close(ending);
    else if (this.state === 'open') {
      this.drained = ending;
      this.hold(Hold.Draining);
    }
    if (!stream.closed) await new Promise((resolve) => stream.once('close', resolve));
  }

  /** Ends the connection once what was sent has been written. */
  close(ending: Ending): void {
    delete this.drained;
    // What is done with is answered before it is said that nothing more is.
    this.flush();
    if (this.closed) return;
    if (this.protocolVersion === 5 && this.state === 'open' && ending.reason !== undefined)
      this.sendPacket({
        cmd: 'disconnect',
        reasonCode: ending.reason,
        ...this.reasonString(ending.description),
      });
    this.flush();
    this.ended(ending);
    endStream(this.link.stream, this.lingers);
  }

  /** Calls back once when the connection ends, for whatever reason; at once when it has. */
  onEnd(listener: (ending: Ending) => void): void {
    if (this.ending) listener(this.ending);
    else this.endListeners.push(listener);
  }

  /**
   * The publication is done with: it is answered when all before it are.
   * @param reason why it is refused, for an MQTT 5 client.
   */
  acknowledge(publication: Publication, reason?: Reason): void {
    publication.done = true;
    if (reason !== undefined && this.protocolVersion === 5) {
      publication.reason = reason;
      // Refused, it is not released: its id is free (MQTT 5, 4.3.3).
      if (publication.qos === 2) this.publications.releaseId(publication.packetId);
    }
    this.schedule();
  }

  sendPacket(packet: Packet): void {
    this.send(mqtt.generate(packet, { protocolVersion: this.protocolVersion }));
  }

  send(data: Buffer): void {
    if (this.closed) return;
    this.output.push(data);
    this.outputBytes += data.length;
    this.schedule();
  }

  /** Calls back once when more may be sent; for those who found `backlog` above `OUTPUT_BYTES.full`. */
  onWritable(listener: () => void): void {
    this.writable = listener;
  }

  hold(reason: Hold): void {
    if (this.holds === 0) this.link.stream.pause();
    this.holds |= reason;
  }

  release(reason: Hold): void {
    if ((this.holds & reason) === 0) return;
    this.holds &= ~reason;
    if (this.holds > 0) return;
    this.lastSeen = Date.now();
    this.link.stream.resume();
  }

  /** Writes what is waiting, in one piece. */
  flush(): void {
    this.flushing = false;
    if (this.closed) return;
    const answers = this.publications.takeAnswers();
    if (answers) this.output.push(answers);
    if (this.output.length > 0) {
      const data = this.output.length === 1 ? this.output[0]! : Buffer.concat(this.output);
      this.output = [];
      this.outputBytes = 0;
      const { stream } = this.link;
      if (stream.writableLength + data.length > OUTPUT_BYTES.limit + MAX_PACKET_BYTES) {
        this.ended({ description: 'the client does not read what it is sent' });
        stream.destroy();
        return;
      }
      stream.write(data);
      this.written += data.length;
      if (stream.writableLength > OUTPUT_BYTES.silent) this.hold(Hold.Output);
    }
    if ((this.holds & Hold.Unanswered) !== 0 && this.publications.drained) this.release(Hold.Unanswered);
    if (this.writable && this.link.stream.writableLength <= OUTPUT_BYTES.full) this.becameWritable();
    if (this.drained && this.publications.empty) this.close(this.drained);
  }

  private schedule(): void {
    if (this.flushing || this.closed) return;
    this.flushing = true;
    flushSoon(this);
  }

  private becameWritable(): void {
    if (!this.closed && this.link.stream.writableLength <= OUTPUT_BYTES.full) this.release(Hold.Output);
    const listener = this.writable;
    delete this.writable;
    if (!this.closed) listener?.();
  }

  private reasonString(text: string | undefined): { properties?: { reasonString: string } } {
    return this.protocolVersion === 5 && this.takesReasons && text !== undefined
      ? { properties: { reasonString: text } }
      : {};
  }

  private onBytes(count: number): void {
    this.lastSeen = Date.now();
    // A WebSocket keeps a frame until it is complete.
    if (this.state === 'new' && (this.received += count) > MAX_CONNECT_BYTES * 2)
      this.close({ description: 'CONNECT is too large' });
  }

  private onData(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && !this.closed; at += PARSED_AT_ONCE_BYTES) {
      if (at > 0 && this.holds > 0) {
        this.link.stream.unshift(chunk.subarray(at));
        return;
      }
      this.parse(chunk.subarray(at, at + PARSED_AT_ONCE_BYTES));
    }
  }

  private parse(bytes: Buffer): void {
    try {
      const length = this.reader.read(bytes);
      if (length > (this.state === 'new' ? MAX_CONNECT_BYTES : MAX_PACKET_BYTES))
        this.close({ description: `a packet of ${length} bytes is too large`, reason: Reason.PacketTooLarge });
    } catch (error) {
      this.onMalformed(String(error));
    }
  }

  private onMalformed(message: string): void {
    if (this.closed) return;
    if (this.state === 'new' && message === INVALID_VERSION) this.refuse(Refusal.ProtocolVersion);
    else this.close({ description: `malformed packet: ${message}`, reason: Reason.Malformed });
  }

  private onPacket(packet: Packet): void {
    if (this.closed) return;
    if (this.state === 'new') this.onFirst(packet);
    else if (this.state === 'connecting') this.early.push(packet);
    else this.onOpen(packet, this.session!);
  }

  private onFirst(packet: Packet): void {
    if (packet.cmd !== 'connect') {
      this.close({ description: 'the first packet was no CONNECT' });
      return;
    }
    this.protocolVersion = packet.protocolVersion ?? 4;
    this.takesReasons = packet.properties?.maximumPacketSize === undefined;
    const refusal = refusalOfConnect(packet);
    if (refusal) {
      this.refuse(...refusal);
      return;
    }
    this.state = 'connecting';
    this.hold(Hold.Connecting);
    this.onConnect(this, packet);
  }

  private onOpen(packet: Packet, session: Session): void {
    const problem = problemOf(packet);
    if (problem) {
      this.close(problem);
      return;
    }
    switch (packet.cmd) {
      case 'publish': {
        const { topic, qos, messageId, payload, properties } = packet;
        const publication = this.publications.add(messageId ?? 0, qos, payload.length, properties?.userProperties);
        if (this.publications.full) this.hold(Hold.Unanswered);
        if (!this.publications.openId(publication)) this.acknowledge(publication);
        else session.publish(topic, payload as Buffer, publication, properties);
        break;
      }
      case 'puback':
        session.acknowledged(packet.messageId!);
        break;
      case 'pubrel': {
        const known = this.publications.releaseId(packet.messageId!);
        this.sendPacket({
          cmd: 'pubcomp',
          messageId: packet.messageId!,
          ...(known || this.protocolVersion < 5 ? {} : { reasonCode: Reason.PacketIdentifierNotFound }),
        });
        break;
      }
      case 'pingreq':
        this.send(PINGRESP);
        break;
      case 'subscribe':
        session.subscribe(packet);
        break;
      case 'unsubscribe':
        session.unsubscribe(packet);
        break;
      case 'disconnect':
        this.close({ description: 'the client disconnected' });
        break;
      default:
        this.close({ description: `unexpected packet ${packet.cmd}`, reason: Reason.ProtocolError });
    }
  }

  private ended(ending: Ending): void {
    if (this.closed) return;
    this.state = 'closed';
    this.early = [];
    this.output = [];
    this.ending = ending;
    this.wheel.remove(this);
    for (const listener of this.endListeners.splice(0)) listener(ending);
  }
}
