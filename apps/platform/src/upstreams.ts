import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import type { Logger } from '@orrery/core/telemetry';

/** Where one process of a service answers. */
export interface Instance {
  http: string;
  /** Ports of a connector. */
  mqtt?: number;
  mqtts?: number;
}

/** Instances of each service, as the routes file has them. */
type Routes = Record<string, Instance[]>;

const LOOK_MS = 1000;
const REREAD_MS = 200;
const ANSWER_MS = 2000;
const CONNECT_MS = 2000;

/**
 * The instances of each service, from a JSON file that is read again when it changes. They take turns; those that are
 * not ready are asked only when no other is left.
 */
export class Upstreams {
  private text = '';
  private routes: Routes = {};
  private readonly notReady = new Set<string>();
  private readonly asked = new Set<string>();
  private readonly turns = new Map<string, number>();
  private readonly timers: NodeJS.Timeout[] = [];

  constructor(
    private readonly file: string,
    private readonly logger: Logger,
  ) {}

  /** @throws when the file cannot be read. */
  async start(): Promise<void> {
    await this.reread();
    const reread = (): void =>
      void this.reread().catch((error: unknown) =>
        this.logger.warn({ error: String(error) }, 'the routes are unreadable'),
      );
    const look = (): void => {
      for (const { http } of Object.values(this.routes).flat()) void this.ask(http);
    };
    this.timers.push(setInterval(reread, REREAD_MS), setInterval(look, LOOK_MS));
  }

  stop(): void {
    for (const timer of this.timers) clearInterval(timer);
  }

  get services(): string[] {
    return Object.keys(this.routes);
  }

  /** Instances of a service, whether they are ready or not. */
  instances(service: string): Instance[] {
    return this.routes[service] ?? [];
  }

  /** The same in the order in which they should be tried: another one comes first each time. */
  candidates(service: string): Instance[] {
    const all = this.instances(service);
    const turn = this.turns.get(service) ?? 0;
    this.turns.set(service, turn + 1);
    const isReady = ({ http }: Instance): boolean => !this.notReady.has(http);
    const ready = all.filter(isReady);
    const first = ready.length > 0 ? turn % ready.length : 0;
    return [...ready.slice(first), ...ready.slice(0, first), ...all.filter((each) => !isReady(each))];
  }

  /**
   * Connects to the first that accepts.
   * @param port which of the ports of the instances.
   * @throws Error when none does.
   */
  async connect(candidates: Instance[], port: 'http' | 'mqtt' | 'mqtts'): Promise<Socket> {
    let failure: unknown = new Error('there is no instance');
    for (const instance of candidates) {
      const { [port]: address } = instance;
      if (address === undefined) continue;
      try {
        return await dial(typeof address === 'number' ? address : Number(new URL(address).port));
      } catch (error) {
        failure = error;
        this.notReady.add(instance.http);
      }
    }
    throw failure;
  }

  /** To the instance at this URL, or to another one of its service when it does not accept. */
  connectTo(url: string): Promise<Socket> {
    const service = this.services.find((name) => this.instances(name).some(({ http }) => http === url));
    const others = service === undefined ? [] : this.candidates(service).filter(({ http }) => http !== url);
    return this.connect([{ http: url }, ...others], 'http');
  }

  /** Whether the instance says that it is ready. */
  async ask(url: string): Promise<boolean> {
    // One that does not answer is asked once at a time.
    if (this.asked.has(url)) return !this.notReady.has(url);
    this.asked.add(url);
    const ready = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(ANSWER_MS) }).then(
      async (response) => {
        await response.arrayBuffer();
        return response.ok;
      },
      () => false,
    );
    this.asked.delete(url);
    if (ready) this.notReady.delete(url);
    else this.notReady.add(url);
    return ready;
  }

  private async reread(): Promise<void> {
    const text = await readFile(this.file, 'utf8');
    if (text === this.text) return;
    this.routes = JSON.parse(text) as Routes;
    this.text = text;
    const known = new Set(Object.values(this.routes).flatMap((each) => each.map(({ http }) => http)));
    for (const url of this.notReady) if (!known.has(url)) this.notReady.delete(url);
    this.logger.info({ services: this.services }, 'routes read');
  }
}

function dial(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, keepAlive: true, allowHalfOpen: true });
    const late = setTimeout(() => socket.destroy(new Error(`port ${port} does not accept`)), CONNECT_MS);
    socket.once('error', reject);
    socket.once('connect', () => {
      clearTimeout(late);
      socket.off('error', reject);
      resolve(socket);
    });
    socket.once('close', () => clearTimeout(late));
  });
}
