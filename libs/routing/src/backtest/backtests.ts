import type { ApiKeyIdentity } from '@orrery/core/auth';
import type { Bus } from '@orrery/core/bus';
import { invalidParameter } from '@orrery/core/http';
import { routedEvent } from '@orrery/core/messages';
import { isDataMessage, parseReplay, replay, type Stored } from '@orrery/store/contract';
import type { ActionPoliciesService } from '../action-policies/action-policies.service.js';
import type { Actions, Filter } from '../action-policies/policy-document.js';
import type { ActionRow } from '../actions/action-store.js';
import { DELIVERED_KINDS } from '../actions/action.js';
import { prepare, type PreparedAction, UnrenderableError } from '../actions/prepared-action.js';
import { MAX_SMS_TEXT } from '../deliveries/texting.js';
import { compileFilter, type Predicate } from '../routing/filter.js';
import { DataMessageSubject, EventSubject, type Subject } from '../routing/subject.js';
import type { PolicyBacktestDto } from './backtest.dto.js';

/** Characters of what the actions of an answer would have sent: a message may have a million. */
const MAX_ANSWER = 4_000_000;
/** What is stored, and can trigger a policy again. */
const STORED_TYPES = ['dataMessage', 'matchingFired', 'stateChange', 'deviceActivity'];

type Action = Record<string, unknown>;

/**
 * Runs an action policy over stored messages and events, by the filters and templates that run on new ones, and tells what
 * it would have done. Nothing is sent. The policy counts as enabled all the time.
 */
export class Backtests {
  constructor(
    private readonly bus: Bus,
    private readonly policies: ActionPoliciesService,
  ) {}

  /** @throws NOT_FOUND; GENERIC_INVALID_PARAMETER_ERROR that lists every bad field. */
  async run(key: ApiKeyIdentity, id: string, body: unknown): Promise<PolicyBacktestDto> {
    const { tenantId } = key;
    const change = (body as { policy?: unknown } | null)?.policy ?? undefined;
    const { triggers, actions } = await this.policies.document(tenantId, id, change);
    const range = parseReplay(key, body);
    const filters = new Map<string, Predicate>();
    for (const [type, { filter }] of Object.entries(triggers) as Array<[string, { filter?: Filter }]>) {
      if (!STORED_TYPES.includes(type))
        throw invalidParameter('triggers', `a policy for one of ${STORED_TYPES.join(', ')}: others are not stored`);
      filters.set(type, compileFilter(filter));
    }
    const act = acting(actions);
    const routed: PolicyBacktestDto['routed'] = [];
    let [messages, matched, size] = [0, 0, 0];
    const end = await replay(this.bus, tenantId, range, (stored, text) => {
      const subject = subjectFor(tenantId, stored, text);
      const passes = filters.get(subject.type);
      if (!passes) return;
      messages++;
      if (!passes(subject)) return;
      matched++;
      if (routed.length >= range.limit || size >= MAX_ANSWER) return;
      const done = act(subject.routed);
      size += JSON.stringify(done).length;
      routed.push({ messageId: stored.id, type: subject.type, actions: done });
    });
    const { from, to } = range;
    return { from, to, ...end, messages, matched, routed };
  }
}

/** As the router sees it. */
function subjectFor(tenantId: string, stored: Stored, text: string): Subject {
  const { id, streamId, timestamp } = stored;
  if (isDataMessage(stored)) {
    const deviceId = stored.metadata.source;
    const header = { tenantId, id, streamId, timestamp, ...(deviceId === undefined ? {} : { deviceId }) };
    return new DataMessageSubject(header, text);
  }
  const { type, event } = routedEvent(stored);
  return new EventSubject({ tenantId, type, key: streamId }, JSON.stringify(event));
}

/** What the actions would send for a message or event. */
function acting(actions: Actions): (routed: string) => Action[] {
  const fifos = (actions.fifoPublish ?? []).map(({ fifoName }) => ({ type: 'fifoPublish', fifoName }));
  const prepared = DELIVERED_KINDS.flatMap((kind) =>
    (actions[kind] ?? []).map((action) => prepare({ id: '', kind, action } as ActionRow)),
  );
  return (routed) => [
    ...fifos,
    ...prepared.map((action) => {
      try {
        return shown(action, routed);
      } catch (error) {
        if (!(error instanceof UnrenderableError)) throw error;
        return { type: action.kind, error: error.message };
      }
    }),
  ];
}

function shown(row: PreparedAction, routed: string): Action {
  const type = row.kind;
  switch (row.kind) {
    case 'emails':
      return { type, to: row.action.to, subject: row.subject(routed), text: row.text(routed) };
    case 'sms': {
      const { destinationPhoneNumbers } = row.action;
      return { type, destinationPhoneNumbers, text: row.text(routed).slice(0, MAX_SMS_TEXT) };
    }
    case 'httpPush':
      return { type, webhookUrl: row.action.webhookUrl, body: row.text(routed) };
    case 'azureEventHubs': {
      const { eventHubsNamespace, eventHubName } = row.action;
      return { type, eventHubsNamespace, eventHubName, body: row.text(routed) };
    }
  }
}
