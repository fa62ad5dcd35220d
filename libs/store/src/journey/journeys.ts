import type { Bus } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import { askJourney, type JourneyQuestion, type JourneyStep } from '@orrery/core/journey';
import { isMessageId, messageTime, type Metadata, routedEvent } from '@orrery/core/messages';
import { isDataMessage, type Stored } from '../messages/replay.js';
import type { JourneyDto } from './journey.dto.js';

/** Who does not answer in time counts as unknown. */
const TIMEOUT_MS = 2000;
/** Events of one message: as many as rules may fire. */
const MAX_EVENTS = 1000;
/** Of their bodies, which hold the message: beyond, events are named and no more. */
const MAX_EVENT_BYTES = 8_000_000;

type Step = JourneyDto['steps'][number];
/** Undefined when the service did not answer. */
type Answers = Record<(typeof ASKED)[number], JourneyStep[] | undefined>;

const ASKED = ['decoder', 'pipeline', 'search', 'routing', 'audit-log'] as const;

interface Row {
  body: string;
  cause: string | null;
}

interface EventRow {
  id: string;
  created: Date;
  body: string | null;
}

/** What happened to messages, as far as it is kept: by the store itself, and by those who did it. */
export class Journeys {
  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
  ) {}

  /** @throws NOT_FOUND for a message that the tenant does not have. */
  async of(tenantId: string, messageId: string): Promise<JourneyDto> {
    if (!isMessageId(messageId)) throw new ApiError('NOT_FOUND', { messageId });
    const [row] = await this.database.query<Row>(
      'SELECT body, cause FROM messages WHERE created = $1 AND id = $2 AND tenant_id = $3',
      [messageTime(messageId), messageId, tenantId],
    );
    const stored = row && (JSON.parse(row.body) as Stored);
    const events = stored ? await this.eventsOf(tenantId, messageId) : [];
    const message = stored && isDataMessage(stored) ? stored : undefined;
    const encoding = message?.metadata.encoding;
    const answers = await this.ask({
      tenantId,
      messageId,
      eventIds: events.map(({ id }) => id),
      ...(encoding === undefined ? {} : { encoding }),
    });
    if (!stored) {
      // It may be on its way still.
      const waiting = answers.pipeline?.length ? answers.pipeline : undefined;
      if (!waiting) throw new ApiError('NOT_FOUND', { messageId });
      return {
        messageId,
        created: messageTime(messageId).toISOString(),
        steps: [...told('pipeline', waiting), step('store', 'storing', 'waiting'), ...audited(answers)],
      };
    }
    const { streamId, created } = stored;
    const { connector, source } = message?.metadata ?? {};
    return {
      messageId,
      streamId,
      created,
      ...(connector === undefined ? {} : { connector }),
      ...(source === undefined ? {} : { source }),
      ...(row.cause === null ? {} : { cause: row.cause }),
      steps: [
        // Events are made by rules, and no rule applies to them.
        ...(message ? [...decoding(message, answers), ...transformation(message, answers)] : []),
        step('store', 'storing', 'done'),
        ...indexing(answers),
        ...(message ? rules(events) : []),
        ...told('routing', answers.routing),
        ...audited(answers),
      ],
    };
  }

  private async ask(question: JourneyQuestion): Promise<Answers> {
    const answers = ASKED.map(
      async (service) => [service, await askJourney(this.bus, service, question, TIMEOUT_MS)] as const,
    );
    return Object.fromEntries(await Promise.all(answers)) as Answers;
  }

  private async eventsOf(tenantId: string, messageId: string): Promise<EventRow[]> {
    return this.database.query<EventRow>(
      `SELECT id, created,
         CASE WHEN sum(octet_length(body)) OVER (ORDER BY created, id) < ${MAX_EVENT_BYTES} THEN body END AS body
       FROM messages WHERE tenant_id = $1 AND cause = $2 AND created >= $3
       ORDER BY created, id LIMIT ${MAX_EVENTS}`,
      [tenantId, messageId, messageTime(messageId)],
    );
  }
}

const step = (service: string, name: string, outcome: JourneyStep['outcome'], more: object = {}): Step => ({
  service,
  step: name,
  outcome,
  ...more,
});

const told = (service: string, steps: readonly JourneyStep[] | undefined): Step[] =>
  steps?.map((each) => ({ ...each, service })) ?? [step(service, 'all', 'unknown')];

const audited = (answers: Answers): Step[] => told('audit-log', answers['audit-log']);

/** What the audit log says of a failure. */
function failure(answers: Answers, type: string): object | undefined {
  const entry = answers['audit-log']?.find((each) => (each['entry'] as { type?: string } | undefined)?.type === type);
  return entry && { outcome: 'failed', reason: entry.reason };
}

function decoding({ metadata }: { metadata: Metadata }, answers: Answers): Step[] {
  if (metadata.encoding === undefined) return [step('decoder', 'decoding', 'none')];
  const decoded = metadata.transformation?.decoder ? { outcome: 'done' } : undefined;
  const known = decoded ?? failure(answers, 'decoding_failed');
  return told('decoder', answers.decoder).map((each) => ({ ...each, ...known }));
}

function transformation({ metadata }: { metadata: Metadata }, answers: Answers): Step[] {
  const done = metadata.transformation?.pipeline;
  if (!done) return [step('pipeline', 'transformation', 'none')];
  const known = done.success ? {} : failure(answers, 'external_transformation_failed');
  const outcome = done.success ? 'done' : 'failed';
  return [step('pipeline', 'transformation', outcome, { pipeline: { id: done.id }, ...known })];
}

const indexing = (answers: Answers): Step[] =>
  told('search', answers.search).map((each) =>
    each.outcome === 'absent' ? { ...each, ...failure(answers, 'not_indexed') } : each,
  );

function rules(events: readonly EventRow[]): Step[] {
  const reason = 'no stored event comes from this message; which rules were evaluated is not remembered';
  if (events.length === 0) return [step('event-processing', 'rules', 'none', { reason })];
  return events.map(({ id: eventId, created, body }) => {
    const time = created.toISOString();
    const stored = body === null ? undefined : (JSON.parse(body) as Stored);
    if (!stored || isDataMessage(stored)) return step('event-processing', 'rules', 'done', { time, eventId });
    const { type, event } = routedEvent(stored);
    const rule = event['firingRule'] ?? event['stateProcessingRule'];
    return step('event-processing', 'rules', 'done', { time, eventId, type, rule });
  });
}
