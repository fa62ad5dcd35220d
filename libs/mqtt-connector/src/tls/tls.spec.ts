import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent } from 'node:https';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { connectAsync } from 'mqtt';
import { createWebSocketStream, WebSocket } from 'ws';
import { mqttConnector, mqttPorts } from '../mqtt-connector.js';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';
import { makeDevelopmentCertificates } from '@orrery/core/tls';

let around: Surroundings;
let ca: Buffer;
beforeAll(async () => {
  around = await startSurroundings();
  ca = await readFile(join(around.backend.config.ORRERY_DATA_DIR, 'tls', 'ca.pem'));
});
afterAll(() => around.backend.stop());

const handshake = (options: ConnectionOptions): Promise<TLSSocket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: around.ports.tls, ca, servername: 'localhost', ...options });
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', reject);
  });

describe('TLS', () => {
  it('MQT-034 accepts TLS 1.2 and 1.3 and refuses older versions', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await handshake({ minVersion: version, maxVersion: version });
      expect(socket.getProtocol()).toBe(version);
      socket.destroy();
    }
    for (const version of ['TLSv1', 'TLSv1.1'] as const)
      await expect(
        handshake({ minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' }),
      ).rejects.toThrow(/protocol version|protocol_version/i);
  });

  it.each([
    ['TLSv1.2', 'ECDHE-RSA-AES128-GCM-SHA256'],
    ['TLSv1.2', 'ECDHE-RSA-AES256-GCM-SHA384'],
    ['TLSv1.2', 'ECDHE-RSA-AES128-SHA'],
    ['TLSv1.2', 'ECDHE-RSA-AES256-SHA'],
    ['TLSv1.2', 'AES128-GCM-SHA256'],
    ['TLSv1.2', 'AES128-SHA'],
    ['TLSv1.2', 'AES256-SHA'],
    ['TLSv1.3', 'TLS_AES_256_GCM_SHA384'],
    ['TLSv1.3', 'TLS_AES_128_GCM_SHA256'],
  ] as const)('MQT-035 negotiates %s with %s', async (version, ciphers) => {
    const socket = await handshake({ minVersion: version, maxVersion: version, ciphers });
    expect(socket.getCipher().name).toBe(ciphers);
    socket.destroy();
  });

  it('MQT-030 serves device and application mode, with a certificate that the CA vouches for', async () => {
    const { value } = around.keys.grant('acme');
    for (const username of ['json+device', 'application']) {
      const client = await connectAsync(`mqtts://localhost:${around.ports.tls}`, {
        ca,
        clientId: 'tls-modes',
        username,
        password: value,
      });
      await client.endAsync();
    }
  });

  it('MQD-004 reports the security of the connection', async () => {
    const { value } = around.keys.grant('acme');
    const client = await RawClient.open(around.ports.tls, { ca, maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' });
    await client.connect('json+device', value, 'security');
    expect((await around.event('nodeConnected', 'security')).activity!['security']).toEqual({
      secured: true,
      protocol: 'TLSv1.2',
      cipher: 'TLS_RSA_WITH_AES_128_CBC_SHA',
      clientCertAuthentication: false,
      sniHostname: 'localhost',
    });
    client.end();
    const plain = await RawClient.open(around.ports.plain);
    await plain.connect('json+device', value, 'no-security');
    expect((await around.event('nodeConnected', 'no-security')).activity!['security']).toEqual({
      secured: false,
      clientCertAuthentication: false,
    });
    plain.end();
  });

  it('MQT-037 accepts a handshake without SNI', async () => {
    const { value } = around.keys.grant('acme');
    const client = await RawClient.open(around.ports.tls, { ca, servername: '' });
    expect(await client.connect('json+device', value, 'no-sni')).toBe(0);
    const { activity } = await around.event('nodeConnected', 'no-sni');
    expect(activity!['security']).toMatchObject({ secured: true });
    expect(activity!['security']).not.toHaveProperty('sniHostname');
    client.end();
  });
});

describe('the host name of the handshake', () => {
  it('MQT-036 is refused with the alert unrecognized_name when it is not one of the platform', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
      for (const port of [around.ports.tls, around.platform.httpsPort!]) {
        const options = { port, minVersion: version, maxVersion: version };
        await expect(handshake({ ...options, servername: 'wrong.example' })).rejects.toMatchObject({
          code: 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME',
        });
        (await handshake({ ...options, servername: 'LOCALHOST' })).destroy();
      }
  });

  it('MQT-036 is one of those that are configured, when they are', async () => {
    const own = await around.backend.boot([mqttConnector], undefined, {
      ORRERY_HOST_NAMES: 'iot.example, localhost',
      ORRERY_MQTT_DEVICE_HOST: 'mqtt.iot.example',
    });
    const { tls: port } = mqttPorts(own.app);
    for (const servername of ['iot.example', 'localhost', 'mqtt.iot.example'])
      (await handshake({ port, servername, rejectUnauthorized: false })).destroy();
    for (const servername of ['x.iot.example', 'example', hostname()])
      await expect(handshake({ port, servername, rejectUnauthorized: false })).rejects.toThrow(/unrecognized name/);
    await own.close();
  });

  it('MQT-033 refuses applications on the host of the devices, and devices nowhere', async () => {
    const own = await around.backend.boot([mqttConnector], undefined, {
      ORRERY_HOST_NAMES: 'iot.example',
      ORRERY_MQTT_DEVICE_HOST: 'mqtt.iot.example',
    });
    const { tls: port } = mqttPorts(own.app);
    const { value } = around.keys.grant('acme');
    const connect = async (servername: string, username: string): Promise<number> => {
      const client = await RawClient.open(port, { servername, rejectUnauthorized: false });
      const code = await client.connect(username, value, `host-${username.replace('+', '-')}`);
      client.end();
      return code;
    };
    expect(await connect('mqtt.iot.example', 'application')).toBe(5);
    expect((await around.audit('connection_refused', 'host-application')).description).toContain('mqtt.iot.example');
    expect(await connect('MQTT.iot.example', 'connector')).toBe(5);
    expect(await connect('mqtt.iot.example', 'json+device')).toBe(0);
    expect(await connect('iot.example', 'json+device')).toBe(0);
    expect(await connect('iot.example', 'application')).toBe(0);
    expect(await connect('', 'application')).toBe(0);
    const url = `wss://127.0.0.1:${own.httpsPort}/mqtt`;
    const agent = new Agent({ servername: 'mqtt.iot.example', rejectUnauthorized: false });
    const webSocket = new WebSocket(url, 'mqtt', { agent });
    await once(webSocket, 'open');
    const client = new RawClient(createWebSocketStream(webSocket, { allowHalfOpen: false }));
    expect(await client.connect('application', value, 'host-web-socket')).toBe(5);
    await own.close();
  });
});

describe('a client that distrusts the certificate', () => {
  it('MQT-048 fails in its own handshake, and nothing is known of its device', async () => {
    const { value } = around.keys.grant('acme');
    const options = { clientId: 'distrustful', username: 'json+device', password: value, reconnectPeriod: 0 };
    await expect(connectAsync(`mqtts://localhost:${around.ports.tls}`, options)).rejects.toThrow(/certificate/);
    await expect(handshake({ ca: [] })).rejects.toThrow(/certificate/);
    // Whoever comes later has been dealt with.
    const client = await RawClient.open(around.ports.tls, { ca });
    await client.connect('json+device', value, 'trustful');
    await around.event('nodeConnected', 'trustful');
    expect(around.inventory.requests.map(({ nodeId }) => nodeId)).not.toContain('distrustful');
    expect(around.events.map(({ event }) => event.nodeId)).not.toContain('distrustful');
    client.end();
  });
});

describe('development certificates', () => {
  it('are made once, although several processes start at the same time', async () => {
    const parent = await mkdtemp(join(tmpdir(), 'orrery-tls-'));
    try {
      const folder = join(parent, 'data', 'tls');
      await Promise.all(Array.from({ length: 3 }, () => makeDevelopmentCertificates(folder)));
      const first = await readFile(join(folder, 'server.pem'), 'utf8');
      await makeDevelopmentCertificates(folder);
      expect(await readFile(join(folder, 'server.pem'), 'utf8')).toBe(first);
      for (const key of ['ca.key', 'server.key']) expect((await stat(join(folder, key))).mode & 0o777).toBe(0o600);
    } finally {
      await rm(parent, { recursive: true, force: true });
    }
  });
});
