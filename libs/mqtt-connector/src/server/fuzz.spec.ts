import { once } from 'node:events';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { createWebSocketStream, WebSocket } from 'ws';
import { eventually } from '@orrery/core/testing';
import { connected, fuzzMqtt } from '../../../../tools/fuzz/mqtt-fuzz.mjs';
import { Dispatcher } from '../testing/dispatcher.js';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';

let around: Surroundings;
let fifos: Dispatcher;
beforeAll(async () => {
  around = await startSurroundings();
  fifos = new Dispatcher(await around.backend.bus());
  fifos.create('acme', 'fuzz');
  fifos.start();
});
afterAll(() => around.backend.stop());

/** The longer form is `npm run fuzz`. */
describe('spoiled sessions', () => {
  it.each(['sockets', 'WebSockets'])('over %s end, and leave the others as they are', async (transport) => {
    const key = around.keys.grant('acme').value;
    const witness = await RawClient.open(around.ports.plain);
    expect(await witness.connect('json+device', key, 'witness')).toBe(0);
    const overSockets = (secure: boolean) =>
      secure
        ? connected(
            connectTls({ port: around.ports.tls, host: '127.0.0.1', rejectUnauthorized: false }),
            'secureConnect',
          )
        : connected(connect(around.ports.plain, '127.0.0.1'));
    const overWebSockets = async () => {
      const webSocket = new WebSocket(`wss://127.0.0.1:${around.platform.httpsPort}/mqtt`, 'mqtt', {
        rejectUnauthorized: false,
      });
      await once(webSocket, 'open');
      return createWebSocketStream(webSocket, { allowHalfOpen: false });
    };
    const sent = await fuzzMqtt({
      open: transport === 'sockets' ? overSockets : overWebSockets,
      key,
      seed: 1,
      packets: 5000,
    });
    // CONNACK and half of what would be answered of a session that is not spoiled.
    expect(sent.answered).toBeGreaterThan(15 * sent.sessions);
    witness.publish('dev/data', `{"value":{"mark":"${transport}"}}`, 1);
    await witness.next('puback');
    await around.message(transport);
    // Whoever connected has ended: only the witness still is there.
    await eventually(() => {
      const ended = new Set(
        around.events.filter(({ event }) => event.type === 'nodeDisconnected').map(({ event }) => event.sessionId),
      );
      const last = new Map<string, string>();
      for (const { event } of around.events)
        if (event.type === 'nodeConnected') last.set(`${event.connector}/${event.nodeId}`, event.sessionId);
      return [...last].every(([node, id]) => ended.has(id) || node === 'mqtt/witness');
    });
    witness.end();
  });
});
