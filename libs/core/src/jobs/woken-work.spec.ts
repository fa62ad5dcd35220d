import { createLogger } from '../telemetry/index.js';
import { eventually } from '../testing/index.js';
import { WokenWork } from './index.js';

const logger = createLogger('test', 'silent');
const HOUR_MS = 3_600_000;

describe('woken work', () => {
  it('is done once at a time, and again for what came meanwhile', async () => {
    const ends: Array<() => void> = [];
    let most = 0;
    const run = async (): Promise<void> => {
      most = Math.max(most, ends.length + 1 - ended);
      await new Promise<void>((resolve) => ends.push(resolve));
      ended++;
    };
    let ended = 0;
    const work = new WokenWork({ name: 'test', everyMs: HOUR_MS, run, logger });
    for (let i = 0; i < 5; i++) work.wake();
    expect(ends).toHaveLength(1);
    ends[0]!();
    await eventually(() => ends.length === 2);
    ends[1]!();
    await eventually(() => ended === 2);
    work.wake();
    await eventually(() => ends.length === 3);
    ends[2]!();
    await work.stop();
    work.wake();
    expect([ends.length, most]).toEqual([3, 1]);
  });

  it('is done again from time to time, also after it has failed', async () => {
    let runs = 0;
    const run = async (): Promise<void> => {
      if (++runs === 2) throw new Error('once');
    };
    const work = new WokenWork({ name: 'test', everyMs: 5, run, logger });
    work.wake();
    await eventually(() => runs > 4);
    await work.stop();
  });

  it('ends when it is stopped, and is waited for', async () => {
    let done = false;
    const run = async (stopped: () => boolean): Promise<void> => {
      await eventually(stopped);
      done = true;
    };
    const work = new WokenWork({ name: 'test', everyMs: HOUR_MS, run, logger });
    work.wake();
    await work.stop();
    expect(done).toBe(true);
  });
});
