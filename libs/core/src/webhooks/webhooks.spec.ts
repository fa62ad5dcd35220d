import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from 'node:net';
import { eventually } from '../testing/index.js';
import { certificateAuthority } from '../testing/certificates/index.js';
import { checkWebhookHeaders, WebhookError, type WebhookRequest, Webhooks } from './index.js';

const RULES = { ports: [80, 443, 8443], plainHttp: true, connectMs: 30_000, idleMs: 30_000, maxAnswerBytes: 1000 };
const request = (changes: Partial<WebhookRequest> = {}): WebhookRequest => ({ ...RULES, body: '{}', ...changes });

const closed: Array<() => Promise<unknown>> = [];
async function listen(server: TcpServer): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closed.push(async () => {
    (server as Partial<Server>).closeAllConnections?.();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}
const serve = (answer: RequestListener): Promise<string> => listen(createServer(answer));
async function bodyOf(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
function webhooks(allow = '127.0.0.1:*', authorities?: string): Webhooks {
  const made = new Webhooks({ ORRERY_WEBHOOK_ALLOW: allow }, authorities);
  closed.push(() => made.close());
  return made;
}
/** The reason of a failure, and what it says. */
const failure = (call: Promise<unknown>): Promise<[string, string]> =>
  call.then(
    (answer) => ['none', JSON.stringify(answer)],
    (error: unknown) => [(error as WebhookError).reason ?? 'other', (error as Error).message],
  );

afterEach(async () => {
  for (const close of closed.splice(0).toReversed()) await close();
});

describe('webhooks', () => {
  it('post the body with the headers of the tenant, and those of the platform in the place of the same names', async () => {
    let seen: { headers: string[]; body: string; url?: string | undefined } | undefined;
    const url = await serve(async (incoming, reply) => {
      seen = { headers: incoming.rawHeaders, body: await bodyOf(incoming), url: incoming.url };
      reply.writeHead(201).end('ünï');
    });
    const answer = await webhooks().post(
      `${url}a/b?c=%20d#part`,
      request({
        body: '{"temperature":"22 °C"}',
        headers: { 'x-a': ['1', '2'], Authorization: ['Basic eDp5'], 'CONTENT-type': ['text/html'], Host: ['other'] },
        ownHeaders: { 'content-type': 'application/json', 'x-name': 'dé\r\nx: y→' },
      }),
    );
    expect(answer).toEqual({ status: 201, body: 'ünï', truncated: false });
    expect(seen).toMatchObject({ body: '{"temperature":"22 °C"}', url: '/a/b?c=%20d' });
    const headers = seen!.headers.flatMap((name, i) =>
      i % 2 === 0 ? [[name.toLowerCase(), seen!.headers[i + 1]!]] : [],
    );
    expect(headers.filter(([name]) => /^(x-|auth|content-type|host)/.test(name!))).toEqual([
      ['host', new URL(url).host],
      ['x-a', '1'],
      ['x-a', '2'],
      ['authorization', 'Basic eDp5'],
      ['content-type', 'application/json'],
      ['x-name', 'dé??x: y?'],
    ]);
  });

  it('keep a connection for the next call', async () => {
    const ports = new Set<number | undefined>();
    const url = await serve((incoming, reply) => {
      ports.add(incoming.socket.remotePort);
      incoming.resume();
      reply.end('{}');
    });
    const hooks = webhooks();
    for (let i = 0; i < 20; i++) await hooks.post(url, request());
    // One may not be free again yet when the next call is made.
    expect(ports.size).toBeLessThan(4);
  });

  it('give the answers of servers that fail, and follow no redirection', async () => {
    const paths: string[] = [];
    const url = await serve((incoming, reply) => {
      paths.push(incoming.url!);
      const status = Number(incoming.url!.slice(1));
      reply.writeHead(status, { location: '/200' }).end(`it is ${status}`);
    });
    const hooks = webhooks();
    for (const status of [302, 307, 404, 503])
      expect(await hooks.post(`${url}${status}`, request())).toMatchObject({ status, body: `it is ${status}` });
    expect(paths).toEqual(['/302', '/307', '/404', '/503']);
  });

  it('read no more of an answer than is wanted', async () => {
    let open = 0;
    const url = await serve((incoming, reply) => {
      incoming.resume();
      open++;
      reply.on('close', () => open--);
      const more = (): void => {
        while (reply.write('x'.repeat(10_000)) && !reply.destroyed);
        if (!reply.destroyed) reply.once('drain', more);
      };
      more();
    });
    expect(await webhooks().post(url, request())).toEqual({ status: 200, body: 'x'.repeat(1000), truncated: true });
    await eventually(() => open === 0);
  });

  it('say why there is no answer', async () => {
    const hooks = webhooks();
    const silent = await serve((incoming) => void incoming.resume());
    const brief = request({ idleMs: 1000 });
    expect(await failure(hooks.post(silent, brief))).toEqual(['timeout', 'no packet of an answer within 1000 ms']);
    const half = await serve((_, reply) => void reply.writeHead(200).write('{'));
    expect(await failure(hooks.post(half, brief))).toEqual(['timeout', 'no packet of an answer within 1000 ms']);
    const reset = await serve((incoming) => void incoming.socket.resetAndDestroy());
    expect((await failure(hooks.post(reset, request())))[0]).toBe('connection');
    const noise = await listen(
      createTcpServer((socket) => void socket.on('error', () => undefined).end('SSH-2.0-x\r\n')),
    );
    expect((await failure(hooks.post(noise, request())))[0]).toBe('connection');
    const gone = await serve(() => undefined);
    await closed.pop()!();
    expect(await failure(hooks.post(gone, request()))).toEqual(['connection', 'the server refused the connection']);
    const aborted = new AbortController();
    setTimeout(() => aborted.abort(), 50);
    expect((await failure(hooks.post(silent, request({ signal: aborted.signal }))))[0]).toBe('aborted');
    expect((await failure(hooks.post(silent, request({ signal: AbortSignal.abort() }))))[0]).toBe('aborted');
  });

  it('give up a connection that is not made in time, TLS included', async () => {
    const mute = await listen(createTcpServer((socket) => void socket.on('error', () => undefined)));
    const started = Date.now();
    const call = webhooks().post(mute.replace('http', 'https'), request({ connectMs: 300 }));
    expect(await failure(call)).toEqual(['timeout', 'no connection within 300 ms']);
    expect(Date.now() - started).toBeGreaterThanOrEqual(299);
  });

  it('check certificates against the name that was asked for', async () => {
    const authority = await certificateAuthority('CN=Test CA');
    const { cert, key } = await authority.issue('CN=localhost');
    let requests = 0;
    const url = await listen(
      createSecureServer({ cert, key }, (incoming, reply) => {
        requests++;
        incoming.resume();
        reply.end('secret');
      }),
    );
    const byName = url.replace('http://127.0.0.1', 'https://localhost');
    const allow = 'localhost:*,127.0.0.1:*';
    expect((await failure(webhooks(allow).post(byName, request())))[0]).toBe('tls');
    expect((await failure(webhooks(allow, authority.pem).post(url.replace('http', 'https'), request())))[0]).toBe(
      'tls',
    );
    expect(requests).toBe(0);
    expect(await webhooks(allow, authority.pem).post(byName, request())).toMatchObject({ body: 'secret' });
    const plain = await serve((_, reply) => void reply.end());
    expect((await failure(webhooks().post(plain.replace('http', 'https'), request())))[0]).toBe('tls');
  });

  it('call no private address, however it is written, and nothing of what is behind it', async () => {
    let requests = 0;
    const url = await serve((_, reply) => {
      requests++;
      reply.end();
    });
    const { port } = new URL(url);
    const rules = { ports: [...RULES.ports, Number(port)] };
    const hosts = [
      '127.0.0.1',
      '127.1',
      '0x7f.1',
      '2130706433',
      '0177.0.0.1',
      '[::1]',
      '[::ffff:127.0.0.1]',
      'localhost',
    ];
    hosts.push('localhost.', '１２７.0.0.1', '127.0.0.1.', '0', 'LOCALHOST');
    const hooks = webhooks('');
    for (const host of hosts) {
      const [reason] = await failure(hooks.post(`http://${host}:${port}/`, request(rules)));
      // The name with a dot is asked of the name servers, which know nothing of it, or say the same as all.
      expect([host, host === 'localhost.' && reason === 'connection' ? 'refused' : reason]).toEqual([host, 'refused']);
    }
    expect(requests).toBe(0);
    await webhooks('localhost:*').post(`http://localhost:${port}/`, request());
    expect(requests).toBe(1);
  });

  it('call on another port only what the operator allows there', async () => {
    let requests = 0;
    const url = await serve((_, reply) => {
      requests++;
      reply.end();
    });
    const { port } = new URL(url);
    // A range allows the port for its own addresses alone: the name may be called on 80, not on this port.
    expect((await failure(webhooks('10.0.0.0/8:*').post(`http://localhost:${port}/`, request())))[0]).toBe('refused');
    expect((await failure(webhooks(`127.0.0.1:${Number(port) - 1}`).post(url, request())))[0]).toBe('refused');
    expect(requests).toBe(0);
    await webhooks(`127.0.0.0/8:${port}`).post(`http://localhost:${port}/`, request());
    expect(requests).toBe(1);
  });
});

describe('URLs', () => {
  const strict = { ports: [443, 8443, 9243], plainHttp: false };
  it('are checked for scheme, port and address', () => {
    const hooks = webhooks('127.0.0.1:8081,transformer:9000');
    const problem = (url: unknown, rules = strict): unknown => {
      const found = hooks.checkUrl(url, rules);
      return found && (found.port ? 'port' : found.expected);
    };
    for (const url of ['https://h/x', 'https://h:443/', 'https://h:8443/', 'https://h:9243/?a=b', 'https://8.8.8.8/'])
      expect([url, problem(url)]).toEqual([url, undefined]);
    for (const url of ['https://h:8444/', 'https://h:0/', 'http://h/', 'http://h:8080/', 'https://127.0.0.1:8082/'])
      expect([url, problem(url)]).toEqual([url, 'port']);
    expect(problem('http://h:443/')).toBe('an https URL');
    expect(problem('http://h:80/', { ports: [80], plainHttp: true })).toBeUndefined();
    expect(problem('https://127.0.0.1/')).toBe('a public address');
    expect(problem('https://0x7f.1/')).toBe('a public address');
    expect(problem('https://[2001:db8::1]/x')).toBe('a host with an IPv4 address');
    expect(problem('http://127.0.0.1:8081/')).toBeUndefined();
    expect(problem('http://transformer:9000/')).toBeUndefined();
    expect(problem('https://user@h/')).toMatch('without user');
    const bad = [
      undefined,
      null,
      7,
      '',
      'h',
      '/x',
      'ftp://h/',
      'file:///etc/passwd',
      'javascript:1',
      'https://',
      `https://h/${'x'.repeat(2048)}`,
    ];
    for (const url of bad) expect(problem(url)).toMatch('an https URL of at most 2048 characters');
  });
});

describe('headers', () => {
  it('cannot begin another header, nor change what belongs to the connection', () => {
    const fields = (headers: unknown): string[] => checkWebhookHeaders('headers', headers).map(({ field }) => field);
    expect(fields({ Authorization: ['Basic eDp5'], 'x-a': ['1', '', 'é\t~'], __proto__x: [] })).toEqual([]);
    for (const bad of [null, [], 'x', 7]) expect(fields(bad)).toEqual(['headers']);
    for (const name of [
      '',
      'a b',
      'a:b',
      'a\r\nb',
      'é',
      'Host',
      'content-length',
      'Transfer-Encoding',
      'connection',
      'te',
    ])
      expect(fields({ [name]: ['1'] })).toEqual([`headers.${name}`]);
    for (const values of ['1', [1], [null], ['a\r\nx: y'], ['a\nb'], ['a\0'], ['→'], {}])
      expect(fields({ 'x-a': values })).toEqual(['headers.x-a']);
    expect(fields({ 'x-a': ['x'.repeat(8193)] })).toEqual(['headers']);
    expect(fields(Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`x-${i}`, ['']])))).toEqual(['headers']);
  });
});
