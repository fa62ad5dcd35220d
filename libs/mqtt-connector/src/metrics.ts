import { counter, gauge, histogram } from '@orrery/core/telemetry';

export const mqttMetrics = {
  sessions: gauge('orrery_mqtt_sessions', 'Open MQTT sessions', ['mode']),
  pubackSeconds: histogram(
    'orrery_mqtt_puback_seconds',
    'Time from reading a publication to writing its PUBACK or PUBREC: of the one that waited longest, when several are answered at once',
  ),
  limited: counter(
    'orrery_mqtt_limited_total',
    'Publications and subscriptions over a limit, which are dropped or end their session',
    ['limit'],
  ),
  problems: counter('orrery_mqtt_problems_total', 'What clients did wrong, as the audit log has it', ['type']),
};
