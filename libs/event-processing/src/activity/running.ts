import { WokenWork } from '@orrery/core/jobs';
import type { Running, ServiceContext } from '@orrery/core/service';
import { activityReader } from './activity.reader.js';
import { ActivityTimers } from './activity-timers.js';
import { requestAllSyncs, TargetSyncs } from './target-syncs.js';

/** Due times and requests are looked for so often: one look reads an index at a few places. */
const LOOK_MS = 1000;
const DAY_MS = 24 * 3600 * 1000;

/** Reads activity, sends what is due, and compares targets with the inventory. */
export function runActivity({ bus, database, jobs, logger }: ServiceContext): Running {
  const everyMs = LOOK_MS;
  const timers = new ActivityTimers(bus, database);
  const syncs = new TargetSyncs(bus, database);
  const alarms = new WokenWork({ name: 'activity timers', everyMs, run: (stopped) => timers.run(stopped), logger });
  const targets = new WokenWork({ name: 'activity targets', everyMs, run: (stopped) => syncs.run(stopped), logger });
  const reader = activityReader(bus, database, () => targets.wake());
  return {
    async start() {
      await reader.start();
      alarms.wake();
      targets.wake();
      await jobs.repeat({
        name: 'event-processing.activity-targets',
        everyMs: DAY_MS,
        run: () => requestAllSyncs(database),
      });
    },
    async stop() {
      await Promise.all([alarms.stop(), targets.stop()]);
      await reader.stop();
    },
  };
}
