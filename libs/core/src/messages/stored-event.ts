import type { Location, MessageHeader } from './data-message.js';
import type { EventHeader } from './events.js';
import { messageTime } from './message-id.js';

/** Stream of the stored events of a stream, or of a device. */
export const eventStream = (id: string): string => `event:${id}`;

/** An event as a data message (manual 15.4.2). */
export interface StoredEvent {
  header: MessageHeader;
  message: {
    metadata: null;
    streamId: string;
    created: string;
    extra: null;
    location: Required<{ [Field in keyof Location]: Location[Field] | null }> | null;
    model: string;
    id: string;
    value: Record<string, unknown>;
    timestamp: string;
    tags: string[];
  };
}

type Fields = Record<string, unknown>;

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const withoutType = ({ type: _type, version: _version, ...rest }: Fields): Fields => rest;

/**
 * The data message that an event is stored and found as; undefined for the events that are only routed.
 * @param body the routed shape of the event, as JSON text.
 */
export function storedEvent(header: EventHeader, body: string): StoredEvent | undefined {
  const { stored } = header;
  if (!stored) return undefined;
  const value: Fields = withoutType(JSON.parse(body) as Fields);
  let data: Fields | undefined;
  if (isObject(value['data'])) value['data'] = data = withoutType(value['data']);
  else if (isObject(value['matchingContext'])) {
    const context = { ...value['matchingContext'] };
    if (isObject(context['data'])) context['data'] = data = withoutType(context['data']);
    if (stored.rules['matchingRule']) context['matchingRule'] = stored.rules['matchingRule'];
    value['matchingContext'] = context;
  }
  for (const [name, rule] of Object.entries(stored.rules)) if (name in value) value[name] = rule;

  const { id } = stored;
  const streamId = eventStream(data ? String(data['streamId']) : header.key);
  const timestamp = String(value['timestamp']);
  return {
    header: { tenantId: header.tenantId, id, streamId, timestamp },
    message: {
      metadata: null,
      streamId,
      created: messageTime(id).toISOString(),
      extra: null,
      location: isObject(data?.['location'])
        ? { provider: null, alt: null, accuracy: null, ...(data['location'] as unknown as Location) }
        : null,
      model: modelOf(header.type, data),
      id,
      value,
      timestamp,
      tags: ['event', ...(stored.tags ?? [])],
    },
  };
}

function modelOf(type: string, data: Fields | undefined): string {
  if (!data) return `event:${type.charAt(0).toUpperCase()}${type.slice(1)}`;
  return data['model'] ? `event:${String(data['model'])}` : 'event';
}

const TYPES: Readonly<Record<string, string>> = {
  firingRule: 'matchingFired',
  stateProcessingRule: 'stateChange',
  activityRule: 'deviceActivity',
};

const withType = (data: unknown): unknown => (isObject(data) ? { type: 'dataMessage', version: 1, ...data } : data);
const reference = (rule: unknown): unknown =>
  isObject(rule) ? { id: rule['id'], ...('name' in rule ? { name: rule['name'] } : {}) } : rule;

/** The routed shape of a stored event, and its type. */
export function routedEvent({ value }: StoredEvent['message']): { type: string; event: Record<string, unknown> } {
  const event: Fields = { ...value };
  let type = '';
  for (const [field, each] of Object.entries(TYPES))
    if (field in event) {
      type = each;
      event[field] = reference(event[field]);
    }
  if ('data' in event) event['data'] = withType(event['data']);
  if (isObject(event['matchingContext'])) {
    const { matchingRule, data, ...context } = event['matchingContext'];
    event['matchingContext'] = { ...context, matchingRule: reference(matchingRule), data: withType(data) };
  }
  return { type, event: { type, version: 1, ...event } };
}
