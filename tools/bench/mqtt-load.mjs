import { connect } from 'node:net';
import mqtt from 'mqtt-packet';

/**
 * @typedef {object} LoadOptions
 * @property {number} port
 * @property {number} connections
 * @property {number} window unacknowledged publications of one connection
 * @property {number} [rate] publications a second of all connections together; as many as go when absent
 * @property {number} [total] stops after that many
 * @property {number} [durationMs] stops after that time
 * @property {(connection: number) => { clientId: string, username?: string, password?: string, topic: string }} device
 * @property {(n: number, now: number, connection: number) => string} payload of publication n; `now` is in milliseconds since the epoch
 * @property {(n: number, latencyMs: number, connection: number) => void} [onAck]
 *
 * @typedef {object} Load
 * @property {Promise<{ sent: number, acknowledged: number, seconds: number }>} done
 * @property {number} sent so far
 * @property {(rate: number) => void} setRate from now on; for loads that began with a rate
 * @property {() => void} stop sends no more; `done` follows when what is under way is acknowledged or its connection is gone
 */

const now = () => performance.timeOrigin + performance.now();

/**
 * Publishes QoS 1 over raw sockets: a load that costs little itself. A connection that ends is opened again; what it
 * had not acknowledged is given up, so that every number is sent at most once.
 *
 * @param {LoadOptions} options
 * @returns {Load}
 */
export function startLoad(options) {
  const { port, connections, window, total = Infinity, durationMs = Infinity } = options;
  let { rate } = options;
  let sent = 0;
  let acknowledged = 0;
  let lost = 0;
  let stopped = false;
  const began = now();
  /** @type {Set<Connection>} */
  const open = new Set();

  class Connection {
    /** @type {Map<number, { n: number, at: number }>} */
    waiting = new Map();
    ready = false;
    id = 0;

    /** @param {number} index */
    constructor(index) {
      this.index = index;
      this.device = options.device(index);
      this.dial();
    }

    dial() {
      const socket = connect(port, '127.0.0.1').setNoDelay(true);
      this.socket = socket;
      const parser = mqtt.parser({ protocolVersion: 4 });
      const { clientId, username, password } = this.device;
      parser.on('packet', (packet) => {
        if (packet.cmd === 'connack') {
          if (packet.returnCode !== 0) return socket.destroy();
          this.ready = true;
          open.add(this);
          if (!rate) this.fill();
        } else if (packet.cmd === 'puback') {
          const entry = this.waiting.get(Number(packet.messageId));
          if (!entry) return;
          this.waiting.delete(Number(packet.messageId));
          acknowledged++;
          options.onAck?.(entry.n, now() - entry.at, this.index);
          if (!rate) this.fill();
        }
      });
      parser.on('error', () => socket.destroy());
      socket.on('data', (data) => parser.parse(data));
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.ready = false;
        open.delete(this);
        lost += this.waiting.size;
        this.waiting.clear();
        if (!stopped) setTimeout(() => stopped || this.dial(), 100);
      });
      socket.write(
        mqtt.generate({
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: 4,
          clean: true,
          clientId,
          keepalive: 300,
          username,
          password: password === undefined ? undefined : Buffer.from(password),
        }),
      );
    }

    fill() {
      const buffers = [];
      while (this.waiting.size < window && sent < total && !stopped) buffers.push(this.next());
      if (buffers.length > 0) this.socket?.write(Buffer.concat(buffers));
    }

    next() {
      const n = sent++;
      const at = now();
      do this.id = (this.id % 65_535) + 1;
      while (this.waiting.has(this.id));
      this.waiting.set(this.id, { n, at });
      return mqtt.generate({
        cmd: 'publish',
        topic: this.device.topic,
        payload: options.payload(n, at, this.index),
        qos: 1,
        messageId: this.id,
        dup: false,
        retain: false,
      });
    }

    publish() {
      if (!this.ready || this.waiting.size >= window) return false;
      this.socket?.write(this.next());
      return true;
    }
  }

  const all = Array.from({ length: connections }, (_, index) => new Connection(index));
  let turn = 0;
  let paced = 0;
  /** @type {number | undefined} */
  let pacedFrom;
  const pace = setInterval(() => {
    if (now() - began >= durationMs || sent >= total) stopped = true;
    if (!rate || stopped || open.size === 0) return;
    pacedFrom ??= now();
    const due = Math.floor(((now() - pacedFrom) * rate) / 1000);
    for (let misses = 0; paced < due && sent < total && misses < all.length;) {
      if (all[turn++ % all.length]?.publish()) {
        paced++;
        misses = 0;
      } else misses++;
    }
  }, 2);

  const done = (async () => {
    while (!stopped || acknowledged + lost < sent) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (sent >= total) stopped = true;
    }
    clearInterval(pace);
    const seconds = (now() - began) / 1000;
    for (const { socket } of all) socket?.destroy();
    return { sent, acknowledged, seconds };
  })();
  return {
    done,
    get sent() {
      return sent;
    },
    setRate(next) {
      rate = next;
      paced = 0;
      pacedFrom = undefined;
    },
    stop: () => (stopped = true),
  };
}
