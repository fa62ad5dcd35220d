import { connect } from 'node:net';
import mqtt from 'mqtt-packet';

// Opens connections and holds them, in a process of its own: sockets of clients must not count for the server.
const [port, count, apiKey] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4] ?? ''];
/** Connections that are being opened at once. */
const OPENING = 200;

/** @param {number} i @returns {Promise<void>} */
const open = (i) =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const parser = mqtt.parser({ protocolVersion: 4 });
    parser.once('packet', () => resolve());
    socket.on('data', (data) => parser.parse(data));
    socket.on('error', (error) => {
      console.error(`connection ${i}: ${error.message}`);
      process.exit(1);
    });
    socket.write(
      mqtt.generate({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: true,
        clientId: `idle-${i}`,
        keepalive: 600,
        username: 'json+device',
        password: Buffer.from(apiKey),
      }),
    );
  });

const began = performance.now();
let next = 0;
await Promise.all(
  Array.from({ length: OPENING }, async () => {
    while (next < count) await open(next++);
  }),
);
process.send?.({ seconds: (performance.now() - began) / 1000 });
