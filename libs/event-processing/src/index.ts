import type { Service } from '@orrery/core/service';
import { Backtests } from './backtest/backtests.js';

import { ActivityRule } from './activity/activity-rule.entity.js';
import { ActivityRulesController } from './activity/activity-rules.controller.js';
import { ActivityRulesService } from './activity/activity-rules.service.js';
import { ActivityStatesController } from './activity/activity-states.controller.js';
import { ActivityStatesService } from './activity/activity-states.service.js';
import { runActivity } from './activity/running.js';
import { removeDeletedEntries } from './contexts/context-cache.js';
import { ContextEntry } from './contexts/context-entry.entity.js';
import { CONTEXTS, ContextsController, GEOZONES, GeozonesController } from './contexts/contexts.controller.js';
import { ContextsService } from './contexts/contexts.service.js';
import { SERVICE } from './contract.js';
import { GuardsController } from './guards/guards.controller.js';
import { GuardsService } from './guards/guards.service.js';
import { migrations } from './migrations.js';
import { removeLeftovers } from './processing/leftovers.js';
import { messagesReader } from './processing/messages.reader.js';
import { Rule } from './rules/rule.entity.js';
import { RuleTests } from './rules/rule-tests.js';
import {
  FIRING_RULES,
  FiringRulesController,
  MATCHING_RULES,
  MatchingRulesController,
  STATE_RULES,
  StateProcessingRulesController,
} from './rules/rules.controller.js';
import { RulesService } from './rules/rules.service.js';

const HOUR_MS = 3600 * 1000;

/** Rules, and the events that they fire (manual 17). */
export const eventProcessing: Service = {
  name: SERVICE,
  schema: { name: 'event_processing', entities: [Rule, ContextEntry, ActivityRule], migrations },
  restPaths: ['/api/v0/eventprocessing', '/api/v1/eventprocessing'],
  build(context) {
    const { bus, database, audit, jobs, logger, roles } = context;
    const reader = messagesReader(bus, database, audit, logger);
    const repeated = {
      start: () =>
        jobs.repeat({
          name: 'event-processing.leftovers',
          everyMs: HOUR_MS,
          async run() {
            await removeLeftovers(database);
            await removeDeletedEntries(database);
          },
        }),
      stop: async () => undefined,
    };
    return {
      controllers: [
        MatchingRulesController,
        FiringRulesController,
        GuardsController,
        StateProcessingRulesController,
        ActivityRulesController,
        ActivityStatesController,
        ContextsController,
        GeozonesController,
      ],
      providers: [
        { token: MATCHING_RULES, value: new RulesService(database, 'matching') },
        { token: FIRING_RULES, value: new RulesService(database, 'firing') },
        { token: STATE_RULES, value: new RulesService(database, 'state') },
        { token: Backtests, value: new Backtests(bus, database) },
        { token: RuleTests, value: new RuleTests(database) },
        { token: GuardsService, value: new GuardsService(database) },
        { token: ActivityRulesService, value: new ActivityRulesService(database) },
        { token: ActivityStatesService, value: new ActivityStatesService(database) },
        { token: CONTEXTS, value: new ContextsService(database, 'context') },
        { token: GEOZONES, value: new ContextsService(database, 'geozone') },
      ],
      running: roles.worker ? [reader, repeated, runActivity(context)] : [],
    };
  },
};
