import { readFile, stat } from 'node:fs/promises';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { connectAsync } from 'mqtt';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';
import { makeDevelopmentCertificates } from './development-certificates.js';

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
