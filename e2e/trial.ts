import { problemsOf } from '../tools/chaos/account.mjs';
import { Cluster } from '../tools/chaos/cluster.mjs';
import { type CalledServers, startCalledServers } from '../tools/chaos/servers.mjs';
import { startTraffic, type Traffic, type TrafficOptions } from '../tools/chaos/traffic.mjs';
import { type EndToEnd, startEndToEnd } from './platform.js';

/** A platform that is broken while it works, as `npm run chaos` does it for longer. */
export interface Trial {
  e2e: EndToEnd;
  cluster: Cluster;
  servers: CalledServers;
  /** Publishes while `faults` happen, and checks what becomes of every message. */
  holds(run: string, faults: (traffic: Traffic) => Promise<unknown>, options?: Partial<TrafficOptions>): Promise<void>;
  stop(): Promise<void>;
}

export async function startTrial(options: NonNullable<Parameters<typeof startEndToEnd>[0]> = {}): Promise<Trial> {
  const servers = await startCalledServers();
  const e2e = await startEndToEnd({
    ...options,
    // Others take over soon from who was killed.
    env: { ORRERY_LEASE_TTL_MS: '2000', ...options.env, ORRERY_WEBHOOK_ALLOW: servers.allow },
  });
  return {
    e2e,
    cluster: new Cluster(e2e.platform),
    servers,
    async holds(run, faults, options = {}) {
      const traffic = await startTraffic({ platform: e2e.platform, servers, run, rate: 200, ...options });
      try {
        await traffic.flows();
        await faults(traffic);
        // Service is back: publications of every device are acknowledged again.
        await traffic.flowsForAll();
        await traffic.flows();
        const account = await traffic.settle(120_000);
        expect({ ...account, problems: problemsOf(account) }).toMatchObject({
          problems: [],
          evaluated: account.stored,
          indexed: account.stored,
          inFifo: account.stored,
          events: account.stored,
        });
        expect(account.pushed).toBeGreaterThan(0);
        const delivered = await traffic.consume(account.stored);
        expect(new Set(delivered.map(({ n }) => n)).size).toBe(delivered.length);
        expect(delivered.length).toBe(account.stored);
        for (const device of new Set(delivered.map(({ source }) => source))) {
          if (device === traffic.httpStream) continue;
          const numbers = delivered.filter(({ source }) => source === device).map(({ n }) => n);
          expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
        }
      } finally {
        await traffic.close();
      }
    },
    async stop() {
      await e2e.stop();
      await servers.close();
    },
  };
}
