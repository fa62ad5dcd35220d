import type { Service } from '@orrery/core/service';
import { ActionPoliciesController } from './action-policies/action-policies.controller.js';
import { ActionPoliciesService } from './action-policies/action-policies.service.js';
import { ActionPolicy } from './action-policies/action-policy.entity.js';
import { Backtests } from './backtest/backtests.js';
import { serveRpc } from '@orrery/core/bus';
import { JourneyAnswers } from '@orrery/core/journey';
import { Secrets } from '@orrery/core/secrets';
import { ActionStore } from './actions/action-store.js';
import { PreparedActions } from './actions/prepared-action.js';
import { smsSent, takeSms } from './contract.js';
import { Deliveries1700001000500 } from './deliveries/deliveries.migration.js';
import { emailing } from './deliveries/emailing.js';
import { removeRetired, suspendFailing } from './deliveries/push-days.js';
import { pushing } from './deliveries/pushes.js';
import { Sender } from './deliveries/sender.js';
import { TenantLimits } from './deliveries/tenant-limits.js';
import { texting } from './deliveries/texting.js';
import { DeliveryAttempts1700001001000 } from './deliveries/attempts.migration.js';
import { forgetAttempts, journeySteps } from './deliveries/attempts.js';
import { SmsController } from './sms/sms.controller.js';
import { SmsQueue } from './sms/sms-queue.js';
import { Dispatcher } from './dispatcher/dispatcher.js';
import { FifoExpiry1700001200000 } from './fifos/expiry.migration.js';
import { removeExpired } from './fifos/expiry.js';
import { Fifo } from './fifos/fifo.entity.js';
import { FifosController } from './fifos/fifos.controller.js';
import { FifosService } from './fifos/fifos.service.js';
import { FifoPublishing } from './fifos/publishing.js';
import { Wakes } from './fifos/wakes.js';
import { measuringQueues } from './metrics.js';
import { ActionPolicies1700000510000, Fifos1700000500000 } from './migrations.js';
import { Router } from './routing/router.js';
import { suspendUnconsumed } from './routing/suspensions.js';
import { Traces1700001100000 } from './traces.migration.js';

/** Action policies, and the FIFOs that they fill (manual 14 and 16.2.1). */
export const routing: Service = {
  name: 'routing',
  schema: {
    name: 'routing',
    entities: [Fifo, ActionPolicy],
    migrations: [
      Fifos1700000500000,
      ActionPolicies1700000510000,
      Deliveries1700001000500,
      DeliveryAttempts1700001001000,
      Traces1700001100000,
      FifoExpiry1700001200000,
    ],
    // What is queued is in memory. Otherwise, with the estimates of a time when a queue was short, PostgreSQL collects and
    // sorts all of it for each page, instead of walking along the index.
    settings: { random_page_cost: '1' },
    owned: { fifo_messages: 'fifo_id IN (SELECT id FROM fifos WHERE tenant_id = $1)' },
  },
  restPaths: ['/api/v0/topics', '/api/v1/event2action'],
  build({ bus, database, audit, jobs, roles, config, apiKeys, mailer, webhooks }) {
    const store = new ActionStore(new Secrets(config));
    const policies = new ActionPoliciesService(database, store, webhooks);
    const sms = new SmsQueue(bus, database);
    const limits = new TenantLimits(bus, apiKeys);
    const sender = new Sender(bus, database, audit, new PreparedActions(database, store), {
      push: pushing(webhooks),
      email: emailing(mailer, database, limits),
      sms: texting(sms, database, limits),
    });
    const dispatcher = new Dispatcher(bus, database);
    const wakes = new Wakes(bus, (partition, changed) => dispatcher.wake(partition, changed));
    const fifos = new FifosService(database, policies, wakes, bus.partitions);
    const repeated = {
      start: async () => {
        await jobs.repeat({ name: 'routing.expired', everyMs: 5000, run: () => removeExpired(database) });
        await jobs.repeat({
          name: 'routing.unconsumed',
          everyMs: 600_000,
          run: () => suspendUnconsumed(database, policies, audit),
        });
        await jobs.repeat({
          name: 'routing.failing',
          everyMs: 600_000,
          run: () => suspendFailing(database, policies, audit),
        });
        await jobs.repeat({
          name: 'routing.retired',
          everyMs: 3_600_000,
          run: async () => {
            await removeRetired(database);
            await sms.removeOld();
            await forgetAttempts(database);
          },
        });
      },
      stop: async () => undefined,
    };
    const answering = {
      served: [] as Array<{ drain(): Promise<void> }>,
      start: async () => {
        answering.served = [
          serveRpc(bus, takeSms, async ({ limit }) => ({ sms: await sms.take(limit) })),
          serveRpc(bus, smsSent, async ({ ids }) => {
            await sms.remove(ids);
            return {};
          }),
        ];
      },
      stop: async () => {
        await Promise.all(answering.served.map((each) => each.drain()));
      },
    };
    return {
      controllers: [FifosController, ActionPoliciesController, SmsController],
      providers: [
        { token: FifosService, value: fifos },
        { token: ActionPoliciesService, value: policies },
        { token: Backtests, value: new Backtests(bus, policies) },
        { token: SmsQueue, value: sms },
      ],
      running: [
        // They end in the reverse order: the router, before what it wakes.
        ...(roles.worker
          ? [
              measuringQueues(database),
              repeated,
              dispatcher,
              sender,
              new Router(bus, database, audit, policies, wakes, sender),
            ]
          : []),
        answering,
        new JourneyAnswers(bus, 'routing', (question) => journeySteps(database, question)),
        new FifoPublishing(bus, database, audit, wakes),
      ],
    };
  },
};
