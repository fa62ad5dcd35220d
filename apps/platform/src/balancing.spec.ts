import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@orrery/core/telemetry';
import { eventually } from '@orrery/core/testing';
import { balanceTcp } from './tcp-balancer.js';
import { type Instance, Upstreams } from './upstreams.js';

let directory: string;
let file: string;
let upstreams: Upstreams;
const closing: Array<() => void> = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'orrery-balancing-'));
  file = join(directory, 'routes.json');
});
afterEach(async () => {
  upstreams.stop();
  for (const close of closing.splice(0)) close();
  await rm(directory, { recursive: true });
});

async function listening<Kind extends Server | HttpServer>(server: Kind): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  closing.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

interface Fake extends Instance {
  ready: boolean;
}
/** An instance that is ready when it is told to, with a port of MQTT that does this with connections. */
async function instance(onConnection: (socket: Socket) => void): Promise<Fake> {
  const fake: Fake = { http: '', ready: true };
  const http = createHttpServer((_request, response) => response.writeHead(fake.ready ? 200 : 503).end());
  fake.http = `http://127.0.0.1:${await listening(http)}`;
  fake.mqtt = await listening(
    createServer({ allowHalfOpen: true }, (socket) => onConnection(socket.on('error', () => undefined))),
  );
  return fake;
}
/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function balance(instances: Instance[], endingMs?: number): Promise<number> {
  await writeFile(file, JSON.stringify({ connector: instances }));
  upstreams = new Upstreams(file, createLogger('gateway', 'silent'));
  await upstreams.start();
  return listening(balanceTcp(() => upstreams.connect(upstreams.candidates('connector'), 'mqtt'), endingMs));
}
const open = async (port: number): Promise<Socket> => {
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  closing.push(() => client.destroy());
  client.on('error', () => undefined);
  await once(client, 'connect');
  return client;
};
/** What is read until the other side ends. */
const all = async (socket: Socket): Promise<string> => {
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += String(chunk)));
  await once(socket, 'end');
  return text;
};
const ask = async (port: number): Promise<string> => all(await open(port));
const named = (name: string) => instance((socket) => socket.end(name));

it('connections take turns, and none goes to an instance that refuses', async () => {
  const refusing = { http: `http://127.0.0.1:${await closedPort()}`, mqtt: await closedPort() };
  const port = await balance([await named('a'), refusing, await named('b')]);
  // One that takes long to say that it is ready is left out for a while.
  await eventually(async () => {
    const answers = [await ask(port), await ask(port), await ask(port), await ask(port)];
    expect(answers.toSorted()).toEqual(['a', 'a', 'b', 'b']);
    return true;
  });
});

it('an instance that is not ready gets nothing while another one is', async () => {
  const [a, b] = [await named('a'), await named('b')];
  const port = await balance([a, b]);
  a.ready = false;
  await eventually(async () => {
    for (let i = 0; i < 4; i++) if ((await ask(port)) !== 'b') return false;
    return true;
  });
  b.ready = false;
  a.ready = true;
  await eventually(async () => (await ask(port)) === 'a' && (await ask(port)) === 'a');
  // Better than nobody.
  a.ready = false;
  await eventually(async () => (await Promise.all([upstreams.ask(a.http), upstreams.ask(b.http)])).every((is) => !is));
  expect(['a', 'b']).toContain(await ask(port));
});

it('instances that are added and removed are noticed', async () => {
  const [a, b] = [await named('a'), await named('b')];
  const port = await balance([a]);
  expect(await ask(port)).toBe('a');
  await writeFile(file, '{"connector": [');
  await writeFile(file, JSON.stringify({ connector: [b] }));
  await eventually(async () => (await ask(port)) === 'b');
});

it('a client is told when there is nobody to talk to', async () => {
  const port = await balance([]);
  const client = connect(port, '127.0.0.1');
  const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNRESET');
});

it('a side that has ended is still answered', async () => {
  const port = await balance([
    await instance((socket) => void all(socket).then((text) => socket.end(text.toUpperCase()))),
  ]);
  const client = await open(port);
  client.end('a publication');
  expect(await all(client)).toBe('A PUBLICATION');
});

it('a side that is gone takes the other one with it', async () => {
  let behind: Socket | undefined;
  const port = await balance([await instance((socket) => (behind = socket.resume().on('end', () => socket.end())))]);
  const client = await open(port);
  const server = await eventually(() => behind);
  const closed = once(server, 'close');
  client.resetAndDestroy();
  await closed;
  const another = await open(port);
  const told = once(another.resume(), 'end');
  const next = await eventually(() => behind !== server && behind);
  next.resetAndDestroy();
  await told;
});

it('a client that does not end is not waited for when the server has ended', async () => {
  let closed: Promise<unknown> | undefined;
  const port = await balance(
    [
      await instance((socket) => {
        closed = once(socket.resume(), 'close');
        socket.end('bye');
      }),
    ],
    100,
  );
  const client = await open(port);
  expect(await all(client)).toBe('bye');
  await closed;
});

it('who does not read is not read for: little is held, and all of it arrives', async () => {
  const total = 64 << 20;
  let sent = 0;
  const port = await balance([
    await instance((socket) => {
      const chunk = Buffer.alloc(64 << 10);
      const more = (): void => {
        while (sent < total) {
          sent += chunk.length;
          if (!socket.write(chunk)) return;
        }
        socket.end();
      };
      socket.on('drain', more);
      more();
    }),
  ]);
  const client = await open(port);
  client.pause();
  // Until nothing moves any more: buffers of the kernel are full.
  let last = -1;
  await eventually(async () => {
    const before = sent;
    await new Promise((resolve) => setTimeout(resolve, 100));
    const still = before === sent && last === sent;
    last = sent;
    return still;
  });
  expect(sent).toBeLessThan(total / 2);
  let got = 0;
  client.on('data', (chunk: Buffer) => (got += chunk.length)).resume();
  await once(client, 'end');
  expect(got).toBe(total);
});
