import type { ReadItem } from '@orrery/core/bus';
import { type EventHeader, type MessageHeader, messageTime } from '@orrery/core/messages';

type Fields = Record<string, unknown>;

const member = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Fields)[name] : undefined;
const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const textsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((each): each is string => typeof each === 'string') : [];

/** What triggers look at. The body is parsed when a filter first asks for something that the header does not hold. */
export interface Subject {
  readonly tenantId: string;
  readonly type: string;
  /** Id under which it is stored; undefined for the events that are only routed. */
  readonly storedId: string | undefined;
  /** When it arrived, epoch milliseconds; undefined when it does not say. */
  readonly time: number | undefined;
  /** What a FIFO gets: the body with its type and version (manual 15.4). */
  readonly routed: string;
  /** W3C trace context. */
  readonly traceparent: string | undefined;
  readonly connectors: readonly string[];
  readonly groupPath: string | undefined;
  readonly deviceId: string | undefined;
  readonly tags: readonly string[];
  readonly status: string | undefined;
  readonly messageType: string | undefined;
  readonly ruleId: string | undefined;
}

export class DataMessageSubject implements Subject {
  readonly type = 'dataMessage';
  readonly status = undefined;
  readonly messageType = undefined;
  readonly ruleId = undefined;
  private parsed?: Fields;
  private text?: string;

  constructor(
    private readonly header: MessageHeader,
    private readonly body: string,
  ) {}

  get tenantId(): string {
    return this.header.tenantId;
  }
  get storedId(): string {
    return this.header.id;
  }
  get time(): number {
    return messageTime(this.header.id).getTime();
  }
  get deviceId(): string | undefined {
    return this.header.deviceId;
  }
  get traceparent(): string | undefined {
    return this.header.traceparent;
  }
  // Stored messages have no type and version, routed ones do (MSG-001).
  get routed(): string {
    return (this.text ??= `{"type":"dataMessage","version":1,${this.body.slice(1)}`);
  }
  get connectors(): string[] {
    return textsOf([member(this.fields['metadata'], 'connector')]);
  }
  get groupPath(): string | undefined {
    return textOf(member(member(this.fields['metadata'], 'group'), 'path'));
  }
  get tags(): string[] {
    return textsOf(this.fields['tags']);
  }
  private get fields(): Fields {
    return (this.parsed ??= JSON.parse(this.body) as Fields);
  }
}

export class EventSubject implements Subject {
  private parsed?: Fields;

  constructor(
    private readonly header: EventHeader,
    readonly routed: string,
  ) {}

  get tenantId(): string {
    return this.header.tenantId;
  }
  get type(): string {
    return this.header.type;
  }
  get traceparent(): string | undefined {
    return this.header.traceparent;
  }
  get storedId(): string | undefined {
    return this.header.stored?.id;
  }
  // A command status has no timestamp: it is as old as its last change (manual 15.4.3.4).
  get time(): number | undefined {
    const time = Date.parse(textOf(this.fields['timestamp'] ?? this.fields['updated']) ?? '');
    return Number.isNaN(time) ? undefined : time;
  }
  get deviceId(): string | undefined {
    return textOf(this.fields['deviceId']);
  }
  // A status is that of one interface, whatever other interfaces the device has.
  get connectors(): readonly string[] {
    const connector = textOf(member(this.fields['updatedInterface'], 'connector'));
    return connector === undefined ? (this.header.connectors ?? []) : [connector];
  }
  get groupPath(): string | undefined {
    return this.header.groupPath;
  }
  get tags(): readonly string[] {
    return this.header.tags ?? [];
  }
  get status(): string | undefined {
    return textOf(this.fields['status'])?.toUpperCase();
  }
  get messageType(): string | undefined {
    return textOf(this.fields['messageType']);
  }
  get ruleId(): string | undefined {
    const rule = this.fields['firingRule'] ?? this.fields['stateProcessingRule'] ?? this.fields['activityRule'];
    return textOf(member(rule, 'id'));
  }
  private get fields(): Fields {
    return (this.parsed ??= JSON.parse(this.routed) as Fields);
  }
}

export const subjectOf = (item: ReadItem): Subject =>
  item.stream === 'EVENTS'
    ? new EventSubject(item.headerAs<EventHeader>(), item.body)
    : new DataMessageSubject(item.headerAs<MessageHeader>(), item.body);
