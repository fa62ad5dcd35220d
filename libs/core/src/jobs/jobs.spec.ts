import { RpcUnavailableError } from '../bus/index.js';
import { createLogger } from '../telemetry/index.js';
import { type Backend, eventually, startBackend } from '../testing/index.js';
import { Jobs } from './index.js';

const HOUR_MS = 3_600_000;

let backend: Backend;
let jobs: Jobs;
beforeAll(async () => {
  backend = await startBackend([]);
  jobs = new Jobs(backend.config.REDIS_URL, createLogger('test', 'silent'));
});
afterAll(async () => {
  await jobs.close();
  await backend.stop();
});

describe('a repeated job', () => {
  it('is tried again soon when a service that it needs is not there yet', async () => {
    let runs = 0;
    const run = async (): Promise<void> => {
      if (++runs < 3) throw new RpcUnavailableError('nobody answers');
    };
    await jobs.repeat({ name: 'test.early', everyMs: HOUR_MS, run });
    await eventually(() => runs === 3);
  });

  it('runs at its next time when it fails', async () => {
    let runs = 0;
    const run = async (): Promise<void> => {
      runs++;
      throw new Error('always');
    };
    await jobs.repeat({ name: 'test.failing', everyMs: 300, run });
    await eventually(() => runs > 2);
  });
});
