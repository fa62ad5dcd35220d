import { Controller, Get } from '@nestjs/common';
import { Public } from '../http/index.js';
import { type Backend, eventually, startBackend } from '../testing/index.js';
import type { Service } from './index.js';

// A process that is told to stop says that it is not ready, serves on for a while, and finishes what it began.

let done: string[];
let begun: string[];
let finish: () => void;
let finished: Promise<void>;

@Controller('slow')
class SlowController {
  @Public()
  @Get()
  async slow(): Promise<string> {
    begun.push('request');
    await finished;
    done.push('request');
    return 'answered';
  }
}

const slow: Service = {
  name: 'slow',
  restPaths: [],
  build: ({ jobs }) => ({
    controllers: [SlowController],
    providers: [],
    running: [
      {
        start: () =>
          jobs.repeat({
            name: 'slow.job',
            everyMs: 3_600_000,
            async run() {
              begun.push('job');
              await finished;
              done.push('job');
            },
          }),
        stop: () => Promise.resolve(void done.push('service')),
      },
    ],
  }),
};

let backend: Backend;
beforeEach(() => {
  [done, begun] = [[], []];
  finished = new Promise((resolve) => (finish = resolve));
});
beforeAll(async () => {
  backend = await startBackend([slow]);
});
afterAll(() => backend.stop());

it('is not ready first, then takes no more, and ends when its requests and jobs are done', async () => {
  const platform = await backend.boot([slow], undefined, { ORRERY_DRAIN_MS: 5000 });
  const ready = (): Promise<Response> => fetch(`${platform.url}/health/ready`);
  expect((await ready()).status).toBe(200);
  const early = fetch(`${platform.url}/slow`);
  await eventually(() => begun.includes('job') && begun.includes('request'));
  let ended = false;
  const stopped = platform.close().then(() => (ended = true));
  const answer = await ready();
  expect([answer.status, await answer.json()]).toEqual([503, { status: 'stopping', parts: {} }]);
  expect((await fetch(`${platform.url}/health/live`)).status).toBe(200);
  // Sent by a load balancer that has not looked yet.
  const late = fetch(`${platform.url}/slow`);
  await eventually(() => begun.filter((what) => what === 'request').length === 2);
  await eventually(() =>
    ready().then(
      () => false,
      () => true,
    ),
  );
  expect(ended).toBe(false);
  expect(done).toEqual([]);
  finish();
  for (const request of [early, late]) expect(await (await request).text()).toBe('answered');
  await stopped;
  expect(done.toSorted()).toEqual(['job', 'request', 'request', 'service']);
});
