import type { Service } from '@orrery/core/service';
import { ActionPoliciesController } from './action-policies/action-policies.controller.js';
import { ActionPoliciesService } from './action-policies/action-policies.service.js';
import { ActionPolicy } from './action-policies/action-policy.entity.js';
import { Dispatcher } from './dispatcher/dispatcher.js';
import { removeExpired } from './fifos/expiry.js';
import { Fifo } from './fifos/fifo.entity.js';
import { FifosController } from './fifos/fifos.controller.js';
import { FifosService } from './fifos/fifos.service.js';
import { FifoPublishing } from './fifos/publishing.js';
import { Wakes } from './fifos/wakes.js';
import { ActionPolicies1700000510000, Fifos1700000500000 } from './migrations.js';
import { Router } from './routing/router.js';
import { suspendUnconsumed } from './routing/suspensions.js';

/** Action policies, and the FIFOs that they fill (manual 14 and 16.2.1). */
export const routing: Service = {
  name: 'routing',
  schema: {
    name: 'routing',
    entities: [Fifo, ActionPolicy],
    migrations: [Fifos1700000500000, ActionPolicies1700000510000],
    owned: { fifo_messages: 'fifo_id IN (SELECT id FROM fifos WHERE tenant_id = $1)' },
  },
  restPaths: ['/api/v0/topics', '/api/v1/event2action'],
  build({ bus, database, audit, jobs, roles }) {
    const policies = new ActionPoliciesService(database);
    const fifos = new FifosService(database, policies, bus.partitions);
    const dispatcher = new Dispatcher(bus, database);
    const wakes = new Wakes(bus, (partition, ids) => dispatcher.wake(partition, ids));
    const repeated = {
      start: async () => {
        await jobs.repeat({ name: 'routing.expired', everyMs: 5000, run: () => removeExpired(database) });
        await jobs.repeat({
          name: 'routing.unconsumed',
          everyMs: 600_000,
          run: () => suspendUnconsumed(database, policies, audit),
        });
      },
      stop: async () => undefined,
    };
    return {
      controllers: [FifosController, ActionPoliciesController],
      providers: [
        { token: FifosService, value: fifos },
        { token: ActionPoliciesService, value: policies },
      ],
      running: [
        ...(roles.worker ? [dispatcher, new Router(bus, database, audit, policies, wakes), repeated] : []),
        new FifoPublishing(bus, database, audit, wakes),
      ],
    };
  },
};
