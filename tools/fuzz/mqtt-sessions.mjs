import mqtt from 'mqtt-packet';

/** @typedef {import('./random.mjs').Random} Random */

/** Numbers that parsers get wrong. */
const BYTES = [0x00, 0x01, 0x02, 0x7f, 0x80, 0xc0, 0xfe, 0xff];
const TEXTS = ['', '+', '#', '\0', '�', 'x'.repeat(300), '__proto__', '../..', 'é'.repeat(50), '$share/a/b'];

/**
 * What clients say in a session of each mode and version, as it would be recorded: packets, the first a CONNECT.
 *
 * @param {string} key API key
 * @param {string} clientId
 * @returns {Array<{ secure: boolean, packets: Buffer[] }>}
 */
export function sessionsOf(key, clientId) {
  /** @param {string} topic @param {string | Buffer} payload @param {0 | 1 | 2} qos */
  const publish = (topic, payload, qos = 1, messageId = 7) =>
    /** @type {const} */ ({ cmd: 'publish', topic, payload, qos, messageId, dup: false, retain: false });
  /** @param {string[]} topics */
  const subscribe = (...topics) =>
    /** @type {const} */ ({
      cmd: 'subscribe',
      messageId: 3,
      subscriptions: topics.map((topic, i) => ({ topic, qos: /** @type {0 | 1 | 2} */ (i % 3) })),
    });
  const location = { lat: 48.8, lon: 2.3, alt: 35, accuracy: 12.3, provider: 'GPS' };
  const data = JSON.stringify({ s: 'stream', m: 'modelV1', v: { temp: 12.75, on: true }, t: ['a'], loc: [1, 2] });
  const full = JSON.stringify({
    streamId: 's',
    timestamp: '2026-01-01T00:00:00Z',
    value: { a: [1, { b: null }] },
    location,
  });
  const answer = JSON.stringify({ res: { done: true }, cid: 12345 });
  const modes = [
    {
      username: 'json+device',
      secure: false,
      packets: [
        subscribe('dev/cmd', 'dev/cfg/upd', 'dev/rsc/upd'),
        publish('dev/data', data),
        publish('dev/data', full, 0, 0),
        publish('dev/v1/data/binary', Buffer.from('0102ff00', 'hex')),
        publish('dev/v1/data/binary/encoding', Buffer.from('0102ff00', 'hex'), 2, 9),
        publish('dev/cmd/res', answer),
        publish('dev/cfg', JSON.stringify({ cfg: { p: { t: 'i32', v: 5 } } })),
        publish('dev/rsc', JSON.stringify({ rsc: { firmware: { v: '1.0', m: { a: 'b' } } } })),
        publish('dev/rsc/upd/res', JSON.stringify({ res: 'OK', cid: 1 })),
        publish('dev/rsc/upd/err', JSON.stringify({ errorCode: 'X', errorDetails: 'y' })),
      ],
    },
    {
      username: 'application',
      secure: true,
      packets: [
        subscribe('fifo/fuzz', 'fifo/absent'),
        publish('application/v1/data', full),
        publish('fifo/fuzz', data),
        publish('fifo/fuzz', full, 2, 9),
      ],
    },
    {
      username: 'connector',
      secure: true,
      packets: [
        subscribe('connector/v1/requests/command', 'connector/v1/requests/configuration'),
        publish(
          'connector/v1/nodes/node1/status',
          JSON.stringify({ status: 'ONLINE', capabilities: { command: { available: true } } }),
        ),
        publish('connector/v1/nodes/node1/data', JSON.stringify({ value: { a: 1 }, metadata: { encoding: 'e' } })),
        publish('connector/v1/responses/command', JSON.stringify({ id: '5', nodeId: 'node1', response: { ok: true } })),
        publish('connector/v1/current/configuration', JSON.stringify({ nodeId: 'node1', parameters: {} })),
        publish('connector/v1/current/resource', JSON.stringify({ nodeId: 'node1', resources: {} })),
      ],
    },
  ];
  return modes.flatMap(({ username, secure, packets }) =>
    /** @type {const} */ ([3, 4, 5]).map((protocolVersion) => {
      const properties =
        protocolVersion === 5 ? { properties: { receiveMaximum: 20, userProperties: { a: 'b' } } } : {};
      /** @type {mqtt.Packet[]} */
      const all = [
        {
          cmd: 'connect',
          protocolId: protocolVersion === 3 ? 'MQIsdp' : 'MQTT',
          protocolVersion,
          clean: true,
          keepalive: 5,
          clientId,
          username,
          password: Buffer.from(key),
          will: { topic: 'dev/data', payload: Buffer.from(data), qos: 1, retain: false },
          ...properties,
        },
        { cmd: 'pingreq' },
        ...packets,
        { cmd: 'pubrel', messageId: 9 },
        { cmd: 'puback', messageId: 1 },
        { cmd: 'unsubscribe', messageId: 4, unsubscriptions: ['dev/cmd', 'fifo/fuzz'] },
        { cmd: 'pingreq' },
        { cmd: 'disconnect' },
      ];
      return { secure, packets: all.map((packet) => mqtt.generate(packet, { protocolVersion })) };
    }),
  );
}

/** Ways to spoil a packet. @type {Array<(bytes: Buffer, random: Random, others: readonly Buffer[]) => Buffer>} */
const MUTATIONS = [
  // A bit.
  (bytes, random) => {
    const at = random.integer(bytes.length);
    bytes[at] = /** @type {number} */ (bytes[at]) ^ (1 << random.integer(8));
    return bytes;
  },
  // A byte.
  (bytes, random) => {
    bytes[random.integer(bytes.length)] = random.pick(BYTES);
    return bytes;
  },
  // The first bytes: type, flags, length.
  (bytes, random) => {
    bytes[random.integer(Math.min(4, bytes.length))] = random.integer(256);
    return bytes;
  },
  // Less than it says.
  (bytes, random) => bytes.subarray(0, 1 + random.integer(bytes.length)),
  // Something in between.
  (bytes, random) => {
    const at = random.integer(bytes.length + 1);
    const text = Buffer.from(random.pick(TEXTS));
    return Buffer.concat([bytes.subarray(0, at), text, bytes.subarray(at)]);
  },
  // A piece left out, the length corrected.
  (bytes, random) => {
    const from = 2 + random.integer(bytes.length);
    return relength(Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + 1 + random.integer(4))]));
  },
  // A text of another length, the length of the packet corrected.
  (bytes, random) => {
    const text = Buffer.from(random.pick(TEXTS));
    const at = 2 + random.integer(bytes.length);
    return relength(Buffer.concat([bytes.subarray(0, at), Buffer.of(0, text.length & 0xff), text, bytes.subarray(at)]));
  },
  // The end of another packet.
  (bytes, random, others) => {
    const other = random.pick(others);
    const from = random.integer(other.length);
    return relength(Buffer.concat([bytes.subarray(0, 1 + random.integer(bytes.length)), other.subarray(from)]));
  },
  // A length that never ends, or is huge.
  (bytes, random) =>
    Buffer.concat([
      bytes.subarray(0, 1),
      Buffer.from(random.pick(['ffffffff', 'ffffff7f', '808080', '00']), 'hex'),
      bytes.subarray(1),
    ]),
];

/** Writes the length that a packet really has. @param {Buffer} bytes */
function relength(bytes) {
  if (bytes.length < 2) return bytes;
  let at = 1;
  while (at < 4 && at < bytes.length - 1 && /** @type {number} */ (bytes[at]) >= 0x80) at++;
  const rest = bytes.subarray(at + 1);
  const length = [];
  for (let left = rest.length; ; left >>>= 7) {
    length.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    if (left <= 0x7f) break;
  }
  return Buffer.concat([bytes.subarray(0, 1), Buffer.from(length), rest]);
}

/**
 * Spoils some of a session's packets, and their order; CONNECT rarely, or nothing behind it would be looked at.
 *
 * @param {readonly Buffer[]} packets
 * @param {Random} random
 * @returns {Buffer[]}
 */
export function spoiled(packets, random) {
  const [connect, ...rest] = packets.map((packet) => Buffer.from(packet));
  /** @param {Buffer} packet */
  const spoil = (packet) => random.pick(MUTATIONS)(packet, random, packets);
  if (random.chance(0.3)) rest.push(rest.splice(random.integer(rest.length), 1)[0] ?? Buffer.alloc(0));
  if (random.chance(0.2)) rest.splice(random.integer(rest.length), 0, Buffer.from(random.pick(packets)));
  // The first that is malformed ends the session: it should not always be the first.
  const from = random.integer(rest.length);
  return [
    random.chance(0.1) ? spoil(/** @type {Buffer} */ (connect)) : /** @type {Buffer} */ (connect),
    ...rest.map((packet, i) => (i >= from && random.chance(0.5) ? spoil(packet) : packet)),
  ].filter((packet) => packet.length > 0);
}
