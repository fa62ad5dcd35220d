import { lookup, Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { Agent, buildConnector, errors } from 'undici';
import type { Config } from '../config/index.js';
import { AllowList, isAllowedAddress } from './addresses.js';
import { headerList, type WebhookHeaders } from './headers.js';

/** Which servers may be called, and how long is waited for them. */
export interface WebhookRules {
  ports: readonly number[];
  /** Whether http:// will do. */
  plainHttp: boolean;
  /** Milliseconds until the connection stands: name, TCP and TLS. */
  connectMs: number;
  /** Milliseconds without any packet of the answer. */
  idleMs: number;
  /** What is longer is cut off. */
  maxAnswerBytes: number;
}

export interface WebhookRequest extends WebhookRules {
  /** Of the tenant. */
  headers?: WebhookHeaders;
  /** Of the platform: they replace those of the same name. In Latin characters; others are replaced. */
  ownHeaders?: Readonly<Record<string, string>>;
  body: string;
  signal?: AbortSignal;
}

export interface WebhookAnswer {
  /** Of any kind; redirections are not followed. */
  status: number;
  body: string;
  /** The answer is longer than `body`. */
  truncated: boolean;
}

/** The server could not be called, or gave no answer. The text is for the tenant. */
export class WebhookError extends Error {
  constructor(
    /** `refused`: the guard says no, and will do so again. `tls`: the certificate, or no TLS at all. */
    readonly reason: 'refused' | 'connection' | 'timeout' | 'tls' | 'aborted',
    message: string,
  ) {
    super(message);
  }
}

/** What is wrong with a URL. */
export interface UrlProblem {
  expected: string;
  /** It is the port alone. */
  port: boolean;
}

/** A server that sends a byte now and then is given up: it must not hold a place for ever. */
const TOTAL_MS = 120_000;
/** Calls at once: each takes a socket, of which a process has some thousands. */
const MAX_CALLS = 2000;
const CONNECTIONS_PER_SERVER = 100;
/** A connection is kept for the next call for so long at most, whatever the server offers. */
const KEEP_ALIVE_MS = 15_000;
const MAX_URL_LENGTH = 2048;

/**
 * Calls the servers that tenants name. The address is checked where the connection is made, and is the one that is
 * connected to: a name cannot mean another one a moment later, nor can a redirection lead elsewhere.
 */
export class Webhooks {
  private readonly allow: AllowList;
  private readonly agents = new Map<string, Agent>();
  private readonly resolver = new Resolver({ timeout: 3000, tries: 2 });
  private readonly waiting: Array<() => void> = [];
  private calls = 0;

  /**
   * @param authorities certificate authorities in PEM instead of the well-known ones.
   * @throws Error when ORRERY_WEBHOOK_ALLOW is not usable.
   */
  constructor(
    config: Pick<Config, 'ORRERY_WEBHOOK_ALLOW'>,
    private readonly authorities?: string,
  ) {
    this.allow = new AllowList(config.ORRERY_WEBHOOK_ALLOW);
  }

  /** Checks a URL when it is configured, as far as it can be told without asking for the address of its host. */
  checkUrl(text: unknown, rules: Pick<WebhookRules, 'ports' | 'plainHttp'>): UrlProblem | undefined {
    const url =
      typeof text === 'string' && text.length <= MAX_URL_LENGTH && URL.canParse(text) ? new URL(text) : undefined;
    const scheme = rules.plainHttp ? 'http or https' : 'https';
    if (!url || !/^https?:$/.test(url.protocol) || url.hostname === '')
      return { expected: `an ${scheme} URL of at most ${MAX_URL_LENGTH} characters`, port: false };
    if (url.username !== '' || url.password !== '')
      return { expected: 'a URL without user and password: they belong into a header', port: false };
    if (url.hostname.startsWith('[')) return { expected: 'a host with an IPv4 address', port: false };
    const { hostname } = url;
    const port = portOf(url);
    const literal = isIP(hostname) !== 0;
    if (literal ? this.allow.allows(hostname, hostname, port) : this.allow.mayAllow(hostname, port)) return undefined;
    if (!rules.ports.includes(port)) return { expected: `one of the ports ${rules.ports.join(', ')}`, port: true };
    if (url.protocol === 'http:' && !rules.plainHttp) return { expected: 'an https URL', port: false };
    if (literal && !isAllowedAddress(hostname)) return { expected: 'a public address', port: false };
    return undefined;
  }

  /**
   * Resolves with the answer, whatever its status. Connections are kept for further calls.
   * @throws WebhookError
   */
  async post(text: string, request: WebhookRequest): Promise<WebhookAnswer> {
    const problem = this.checkUrl(text, request);
    if (problem) throw new WebhookError('refused', `the URL may not be called: expected ${problem.expected}`);
    const url = new URL(text);
    await this.enter();
    const given = request.signal;
    const end = new AbortController();
    const abort = (): void => end.abort();
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      abort();
    }, TOTAL_MS);
    given?.addEventListener('abort', abort);
    if (given?.aborted) abort();
    try {
      const { statusCode, body } = await this.agent(request, url).request({
        origin: url.origin,
        path: url.pathname + url.search,
        method: 'POST',
        headers: headerList(request.headers ?? {}, latin(request.ownHeaders ?? {})),
        body: request.body,
        headersTimeout: request.idleMs,
        bodyTimeout: request.idleMs,
        signal: end.signal,
      });
      const chunks: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of body) {
        chunks.push(chunk as Buffer);
        bytes += (chunk as Buffer).length;
        // Leaving the loop ends the connection.
        if (bytes > request.maxAnswerBytes) break;
      }
      return {
        status: statusCode,
        body: Buffer.concat(chunks).subarray(0, request.maxAnswerBytes).toString('utf8'),
        truncated: bytes > request.maxAnswerBytes,
      };
    } catch (error) {
      if (late) throw new WebhookError('timeout', `no complete answer within ${TOTAL_MS / 1000} s`);
      if (given?.aborted) throw new WebhookError('aborted', 'the call was given up');
      throw webhookError(error, request);
    } finally {
      clearTimeout(timer);
      given?.removeEventListener('abort', abort);
      this.calls--;
      this.waiting.shift()?.();
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.agents.values()].map((agent) => agent.destroy()));
  }

  private async enter(): Promise<void> {
    while (this.calls >= MAX_CALLS) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.calls++;
  }

  /** Connections are shared by what may be connected to in the same way. */
  private agent({ ports, plainHttp, connectMs }: WebhookRules, url: URL): Agent {
    const exception = !ports.includes(portOf(url)) || (url.protocol === 'http:' && !plainHttp);
    const key = `${connectMs} ${exception}`;
    let agent = this.agents.get(key);
    if (!agent)
      this.agents.set(
        key,
        (agent = new Agent({
          connect: this.connector(connectMs, exception),
          connections: CONNECTIONS_PER_SERVER,
          keepAliveMaxTimeout: KEEP_ALIVE_MS,
        })),
      );
    return agent;
  }

  /** @param exception whether only what the operator allows may be connected to. */
  private connector(connectMs: number, exception: boolean): buildConnector.connector {
    const connect = buildConnector({ timeout: 0, ...(this.authorities ? { ca: this.authorities } : {}) });
    return (options, callback) => {
      let ended = false;
      const end = (error: Error | null, socket: Parameters<buildConnector.Callback>[1]): void => {
        if (ended) return socket?.destroy() as undefined;
        ended = true;
        clearTimeout(timer);
        if (error) callback(error, null);
        else callback(null, socket!);
      };
      let connecting: { destroy(): unknown } | undefined;
      const timer = setTimeout(() => {
        end(new WebhookError('timeout', `no connection within ${connectMs} ms`), null);
        connecting?.destroy();
      }, connectMs);
      const port = portOf(options);
      this.address(options.hostname, port, exception).then(
        (address) => {
          if (!ended)
            connecting = (connect as (...parameters: Parameters<typeof connect>) => unknown)(
              { ...options, hostname: address },
              (error, socket) => end(error, socket),
            ) as { destroy(): unknown };
        },
        (error: Error) => end(error, null),
      );
    };
  }

  private async address(host: string, port: number, exception: boolean): Promise<string> {
    const found = isIP(host) ? [host] : await this.resolve(host);
    const usable = found.filter(
      (address) => this.allow.allows(host, address, port) || (!exception && isAllowedAddress(address)),
    );
    if (usable.length === 0) throw new WebhookError('refused', `the address of ${host} may not be called`);
    return usable[Math.floor(Math.random() * usable.length)]!;
  }

  // Names that the operator has given, or that only a local network knows, are looked up as the machine does. For others
  // that would not do: it takes one of few threads for seconds, which the names of tenants could keep busy.
  private async resolve(host: string): Promise<string[]> {
    try {
      if (host.includes('.') && !this.allow.names(host)) return await this.resolver.resolve4(host);
      return (await lookup(host, { family: 4, all: true })).map(({ address }) => address);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENODATA')
        throw new WebhookError('refused', `${host} has no IPv4 address`);
      throw new WebhookError('connection', `the host ${host} could not be found`);
    }
  }
}

const portOf = ({ port, protocol }: { port: string; protocol: string }): number =>
  port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);

const latin = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, value.replace(/[^\x20-\x7e\xa0-\xff]/g, '?')]),
  );

const isTls = (code: string): boolean => /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|EPROTO$)|SELF_SIGNED/.test(code);

function webhookError(error: unknown, { idleMs }: WebhookRules): WebhookError {
  if (error instanceof WebhookError) return error;
  if (error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError)
    return new WebhookError('timeout', `no packet of an answer within ${idleMs} ms`);
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (isTls(code)) return new WebhookError('tls', `no secure connection: ${message} (${code})`);
  if (code === 'ECONNREFUSED') return new WebhookError('connection', 'the server refused the connection');
  // Addresses stay with the operator.
  return new WebhookError('connection', `the connection failed (${code || 'no reason known'})`);
}
