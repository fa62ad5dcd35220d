import { counter, histogram } from '@orrery/core/telemetry';

export const ruleMetrics = {
  evaluationSeconds: histogram(
    'orrery_rules_evaluation_seconds',
    'Time that the rules of one batch of messages are evaluated for, without the database',
  ),
  evaluations: counter('orrery_rules_evaluations_total', 'Evaluations of predicates and functions of rules'),
  firings: counter('orrery_rules_firings_total', 'Events that rules made', ['type']),
  failures: counter('orrery_rules_failures_total', 'Evaluations that failed'),
};
