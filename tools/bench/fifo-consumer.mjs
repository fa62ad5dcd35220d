import { connect } from 'node:tls';
import mqtt from 'mqtt-packet';

/**
 * Consumes a FIFO over MQTT and TLS, as an application does, and acknowledges each message at once.
 *
 * @param {{ port: number, ca: Buffer | string, apiKey: string, fifo: string, clientId?: string, onMessage: (payload: Buffer) => void, onClose?: () => void }} options
 * @returns {Promise<{ close: () => void }>} resolves when the subscription is active
 */
export function consumeFifo({ port, ca, apiKey, fifo, clientId = 'consumer', onMessage, onClose }) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ca, servername: 'localhost' }).setNoDelay(true);
    const parser = mqtt.parser({ protocolVersion: 4 });
    /** @type {number[]} */
    let acks = [];
    parser.on('packet', (packet) => {
      if (packet.cmd === 'connack') {
        if (packet.returnCode !== 0) return reject(new Error(`refused with ${packet.returnCode}`));
        socket.write(
          mqtt.generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: `fifo/${fifo}`, qos: 1 }] }),
        );
      } else if (packet.cmd === 'suback') {
        if (Number(packet.granted[0]) > 2) return reject(new Error(`subscription refused with ${packet.granted[0]}`));
        resolve({ close: () => socket.destroy() });
      } else if (packet.cmd === 'publish') {
        onMessage(/** @type {Buffer} */ (packet.payload));
        acks.push(Number(packet.messageId));
      }
    });
    socket.on('secureConnect', () =>
      socket.write(
        mqtt.generate({
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: 4,
          clean: true,
          clientId,
          keepalive: 300,
          username: 'application',
          password: Buffer.from(apiKey),
        }),
      ),
    );
    socket.on('data', (data) => {
      parser.parse(data);
      if (acks.length === 0) return;
      const buffer = Buffer.alloc(acks.length * 4);
      acks.forEach((id, i) => {
        buffer.writeUInt16BE(0x4002, i * 4);
        buffer.writeUInt16BE(id, i * 4 + 2);
      });
      acks = [];
      socket.write(buffer);
    });
    socket.on('error', reject);
    socket.on('close', () => {
      reject(new Error('closed before the subscription was active'));
      onClose?.();
    });
  });
}
