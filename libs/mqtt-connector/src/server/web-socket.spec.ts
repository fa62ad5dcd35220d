import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Agent, request, type IncomingMessage } from 'node:http';
import { Agent as SecureAgent, request as requestSecure } from 'node:https';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import mqtt from 'mqtt-packet';
import { createWebSocketStream, WebSocket, type ClientOptions } from 'ws';
import { apiClient, eventually } from '@orrery/core/testing';
import { mqttConnector } from '../mqtt-connector.js';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';

let around: Surroundings;
let ca: Buffer;
let key: string;
const clients: RawClient[] = [];

beforeAll(async () => {
  around = await startSurroundings();
  ca = await readFile(join(around.backend.config.ORRERY_DATA_DIR, 'tls', 'ca.pem'));
  key = around.keys.grant('acme').value;
});
afterAll(async () => {
  for (const client of clients) client.end();
  await around.backend.stop();
});

const wss = (path = '/mqtt', options: ClientOptions = {}, port = around.platform.httpsPort!): WebSocket =>
  new WebSocket(`wss://localhost:${port}${path}`, 'mqtt', { ca, ...options });
/** Over a proxy that speaks TLS with the client. */
const proxied = (headers: Record<string, string>): WebSocket =>
  new WebSocket(`ws://127.0.0.1:${around.platform.httpPort}/mqtt`, 'mqtt', { headers });
const clientOn = async (webSocket: WebSocket): Promise<RawClient> => {
  await once(webSocket, 'open');
  const client = new RawClient(createWebSocketStream(webSocket, { allowHalfOpen: false }));
  clients.push(client);
  return client;
};
/** The status that the request for a WebSocket is refused with. */
const refusal = async (webSocket: WebSocket): Promise<number> => {
  webSocket.on('error', () => undefined);
  const [, response] = (await once(webSocket, 'unexpected-response')) as [unknown, IncomingMessage];
  response.resume();
  return response.statusCode!;
};
const connectPacket = (clientId: string): Buffer =>
  mqtt.generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId,
    keepalive: 600,
    username: 'json+device',
    password: Buffer.from(key),
  });

describe('MQTT over WebSocket', () => {
  it('MQT-031 serves devices and applications at /mqtt with the sub-protocol mqtt, and no other path', async () => {
    for (const username of ['json+device', 'application']) {
      const webSocket = wss();
      const client = await clientOn(webSocket);
      expect(webSocket.protocol).toBe('mqtt');
      expect(webSocket.extensions).toBe('');
      expect(await client.connect(username, key, 'over-web-socket')).toBe(0);
    }
    expect(await refusal(wss('/other'))).toBe(404);
    expect(await refusal(wss('/mqtt/'))).toBe(404);
    const old = new WebSocket(`wss://localhost:${around.platform.httpsPort}/mqtt`, ['other', 'mqttv3.1'], { ca });
    await clientOn(old);
    expect(old.protocol).toBe('mqttv3.1');
  });

  it('takes the data of a usual client', async () => {
    const client = await connectAsync(`wss://localhost:${around.platform.httpsPort}/mqtt`, {
      ca,
      clientId: 'usual',
      username: 'json+device',
      password: key,
    });
    const pad = 'x'.repeat(900_000);
    await client.publishAsync('dev/data', JSON.stringify({ value: { mark: 'web-socket', pad } }), { qos: 1 });
    await around.message('web-socket');
    await client.endAsync();
    await around.event('nodeDisconnected', 'usual');
  });

  it('MQT-032 takes packets that span and share frames', async () => {
    const webSocket = wss();
    const client = await clientOn(webSocket);
    const packet = connectPacket('frames');
    webSocket.send(packet.subarray(0, 9));
    webSocket.send(packet.subarray(9));
    expect((await client.next('connack')).returnCode).toBe(0);
    webSocket.send(Buffer.from('c000c000c0', 'hex'));
    webSocket.send(Buffer.from('00', 'hex'));
    for (let i = 0; i < 3; i++) await client.next('pingresp');
  });

  it('MQT-032 closes on a text frame, before and after CONNECT', async () => {
    const webSocket = wss();
    const client = await clientOn(webSocket);
    webSocket.send(connectPacket('text').toString('latin1'));
    await client.isClosed();
    expect(client.packets).toEqual([]);
    const other = wss();
    const connected = await clientOn(other);
    expect(await connected.connect('json+device', key, 'text')).toBe(0);
    other.send(Buffer.from('c000', 'hex').toString('latin1'));
    await connected.isClosed();
    expect(connected.packets).toEqual([]);
    await around.event('nodeDisconnected', 'text');
  });

  it('MQT-043 refuses a key that needs a client certificate with 0x04, as on the plain port', async () => {
    const bound = around.keys.grant('acme', { clientCert: { caCertIds: ['x'], required: true } }).value;
    expect(await (await clientOn(wss())).connect('json+device', bound, 'certified')).toBe(4);
    const plain = await RawClient.open(around.ports.plain);
    clients.push(plain);
    expect(await plain.connect('json+device', bound, 'certified')).toBe(4);
  });

  // Linux tells it: 02 in the column `tr` is the timer of keep alive.
  (existsSync('/proc/net/tcp') ? it : it.skip)('lets TCP find out that a client has vanished', async () => {
    const client = await clientOn(wss());
    await client.connect('json+device', key, 'vanishing', { keepalive: 0 });
    await client.ping();
    const port = `:${around.platform.httpsPort!.toString(16).toUpperCase().padStart(4, '0')}`;
    await eventually(async () => {
      const timers = (await readFile('/proc/net/tcp', 'utf8'))
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        // Connected, and of the server.
        .filter(([, local, , state]) => local?.endsWith(port) && state === '01')
        .map(([, , , , , timer]) => timer!.slice(0, 2));
      return timers.length > 0 && timers.every((timer) => timer === '02');
    });
  });

  it('bounds what it holds of a client that it does not know yet', async () => {
    const webSocket = wss();
    const client = await clientOn(webSocket);
    const piece = Buffer.alloc(256 << 10);
    for (let i = 0; i < 12; i++) webSocket.send(piece, { fin: false, binary: true });
    await client.isClosed();
    const connected = wss();
    const known = await clientOn(connected);
    expect(await known.connect('json+device', key, 'large-frame')).toBe(0);
    connected.send(Buffer.alloc(5 << 20));
    await known.isClosed();
  });

  it('reports the security of the connection', async () => {
    await (await clientOn(wss())).connect('json+device', key, 'wss-security');
    const { activity } = await around.event('nodeConnected', 'wss-security');
    expect(activity).toMatchObject({
      remoteAddress: expect.stringMatching(/^127\.0\.0\.1\/\d+$/),
      security: {
        secured: true,
        protocol: 'TLSv1.3',
        cipher: expect.stringMatching(/^TLS_AES/),
        clientCertAuthentication: false,
        sniHostname: 'localhost',
      },
    });
  });

  it('lets keep alive, take-over and the loss of the connection end it', async () => {
    const first = await clientOn(wss());
    await first.connect('json+device', key, 'wss-ends');
    const second = await clientOn(wss());
    await second.connect('json+device', key, 'wss-ends', { keepalive: 1 });
    await first.isClosed();
    await second.isClosed();
    await around.event('nodeDisconnected', 'wss-ends');
    const webSocket = wss();
    await (await clientOn(webSocket)).connect('json+device', key, 'wss-torn');
    webSocket.terminate();
    await around.event('nodeDisconnected', 'wss-torn');
  });
});

describe('the HTTP port', () => {
  it('MQT-032 takes a WebSocket from a trusted proxy that did TLS, with the address of the client', async () => {
    expect(await refusal(proxied({}))).toBe(403);
    expect(await refusal(proxied({ 'x-forwarded-proto': 'http' }))).toBe(403);
    const client = await clientOn(proxied({ 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.7' }));
    expect(await client.connect('application', key, 'proxied')).toBe(0);
    const device = await clientOn(proxied({ 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.7' }));
    expect(await device.connect('json+device', key, 'proxied')).toBe(0);
    expect((await around.event('nodeConnected', 'proxied')).activity).toMatchObject({
      remoteAddress: expect.stringMatching(/^203\.0\.113\.7\//),
      security: { secured: true, clientCertAuthentication: false },
    });
  });

  it.each(['http', 'https'])('answers requests over %s that offer another protocol', async (scheme) => {
    const { httpPort, httpsPort } = around.platform;
    const [port, ask, agent] =
      scheme === 'https'
        ? [httpsPort, requestSecure, new SecureAgent({ keepAlive: true, maxSockets: 1, ca })]
        : [httpPort, request, new Agent({ keepAlive: true, maxSockets: 1 })];
    const headers = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAARAAAAAAAIA' };
    const send = async (method: string, path: string, body: string): Promise<[number, boolean]> => {
      const sent = ask({ host: 'localhost', port, path, method, agent, headers: { ...headers, 'x-mark': 'é' } });
      const [response] = (await once(sent.end(body), 'response')) as [IncomingMessage];
      await response.toArray();
      return [response.statusCode!, sent.reusedSocket];
    };
    const body = JSON.stringify({ pad: 'x'.repeat(200_000) });
    expect(await send('GET', '/health/live', '')).toEqual([200, false]);
    // The body has been read to its end when the next request is understood.
    for (let i = 0; i < 3; i++) {
      expect(await send('POST', '/nothing', body)).toEqual([404, true]);
      expect(await send('GET', '/health/live', '')).toEqual([200, true]);
    }
    agent.destroy();
  });
});

describe('the HTTPS port', () => {
  it('answers what the HTTP port answers', async () => {
    const { httpPort, httpsPort } = around.platform;
    const over = async (secure: boolean): Promise<string> => {
      const sent = secure
        ? requestSecure({ host: 'localhost', port: httpsPort, path: '/api/v0/nothing', ca })
        : request({ host: 'localhost', port: httpPort, path: '/api/v0/nothing' });
      const [response] = (await once(sent.end(), 'response')) as [IncomingMessage];
      const chunks = await response.toArray();
      const { code } = JSON.parse(Buffer.concat(chunks as Buffer[]).toString()) as { code: string };
      return `${response.statusCode} ${code}`;
    };
    expect(await over(true)).toBe(await over(false));
    expect((await apiClient(around.platform.url).get('/mqtt')).status).toBe(404);
  });

  it('closes its WebSockets when the process ends, and says why', async () => {
    const second = await around.backend.boot([mqttConnector]);
    const client = await clientOn(wss('/mqtt', {}, second.httpsPort!));
    await client.connect('json+device', key, 'wss-stopping', { protocolVersion: 5 });
    await second.close();
    expect((await client.next('disconnect')).reasonCode).toBe(0x8b);
    await client.isClosed();
    await around.event('nodeDisconnected', 'wss-stopping');
  });
});
