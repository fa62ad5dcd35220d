import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Service } from '../service/index.js';
import { type Backend, startBackend, type TestPlatform } from '../testing/index.js';

let backend: Backend;
let stopped = 0;
const clients: Socket[] = [];

/** Takes WebSockets and never ends them. */
const holding: Service = {
  name: 'holding',
  restPaths: [],
  build: () => ({
    controllers: [],
    providers: [],
    running: [
      {
        start: () => Promise.resolve(),
        stop() {
          stopped++;
          return Promise.resolve();
        },
      },
    ],
    webSockets: {
      '/held': {
        accept: ({ socket }) => void socket.write('held'),
        close: () => undefined,
      },
    },
  }),
};

beforeAll(async () => {
  backend = await startBackend([holding]);
});
afterAll(async () => {
  for (const client of clients) client.destroy();
  await backend.stop();
});

const plain = async ({ httpPort }: TestPlatform): Promise<Socket> => {
  const socket = connect(httpPort, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
};
const secure = async ({ httpsPort }: TestPlatform): Promise<Socket> => {
  const socket = connectTls({ port: httpsPort, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  return socket;
};
const HALF = 'GET /health/live HTTP/1.1\r\nHost:';
const UPGRADE = `GET /held HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;

it('a process that ends waits for no client for ever: silent, in the middle of a request, or upgraded', async () => {
  const platform = await backend.boot([holding]);
  for (const open of [plain, secure])
    for (const bytes of ['', HALF, UPGRADE]) {
      const client = await open(platform);
      clients.push(client.on('error', () => undefined));
      if (bytes !== '') client.write(bytes);
      if (bytes === UPGRADE) expect(String((await once(client, 'data'))[0])).toBe('held');
      client.resume();
    }
  // Those that came before are accepted.
  await fetch(`${platform.url}/health/live`);
  const closed = clients.map((client) => once(client, 'close'));
  await platform.close();
  await Promise.all(closed);
  expect(stopped).toBe(1);
});
