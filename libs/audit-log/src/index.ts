import { JourneyAnswers } from '@orrery/core/journey';
import type { Service } from '@orrery/core/service';
import { journeySteps } from './messages/journey.js';
import { MessagesController } from './messages/messages.controller.js';
import { MessagesReader } from './messages/messages.reader.js';
import { MessagesService } from './messages/messages.service.js';
import { deleteExpired } from './messages/retention.js';
import { auditMigrations } from './migrations.js';

const HOUR_MS = 3_600_000;

/** Keeps what services report for debugging, and lets tenants search it (manual 19). */
export const auditLog: Service = {
  name: 'audit-log',
  schema: { name: 'audit', entities: [], migrations: auditMigrations },
  restPaths: ['/api/v0/auditlog'],
  build({ bus, config, database, jobs, logger, roles }) {
    const reader = new MessagesReader(bus, database, logger, config.ORRERY_AUDIT_PER_MINUTE);
    return {
      controllers: [MessagesController],
      providers: [{ token: MessagesService, value: new MessagesService(database) }],
      running: [
        new JourneyAnswers(bus, 'audit-log', (question) => journeySteps(database, question)),
        ...(roles.worker
          ? [
              {
                async start() {
                  const retention = {
                    name: 'audit-log.retention',
                    everyMs: HOUR_MS,
                    run: () => deleteExpired(database),
                  };
                  await jobs.repeat(retention);
                  await reader.start();
                },
                stop: () => reader.stop(),
              },
            ]
          : []),
      ],
    };
  },
};
