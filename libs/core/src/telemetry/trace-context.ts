// W3C Trace Context: which trace something belongs to, and which of its spans it comes from. It travels as text, in the
// header `traceparent` of HTTP, the user property of that name of MQTT 5, and the headers of messages and events.

export interface TraceContext {
  traceId: string;
  spanId: string;
  /** Somebody records the trace: what it goes through makes spans. */
  sampled: boolean;
}

const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/;
const SAMPLED = /"traceparent":"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]"/;

/** @returns undefined for what is no trace context of version 00: who sends it goes untraced. */
export function parseTraceparent(text: unknown): TraceContext | undefined {
  const [, traceId, spanId, flags] = typeof text === 'string' ? (TRACEPARENT.exec(text) ?? []) : [];
  if (traceId === undefined || spanId === undefined) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags!, 16) & 1) === 1 };
}

export const formatTraceparent = ({ traceId, spanId, sampled }: TraceContext): string =>
  `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`;

/** The text, when it is a trace context. */
export const validTraceparent = (text: unknown): string | undefined =>
  parseTraceparent(text) ? (text as string) : undefined;

/** False for the headers of nearly all messages, which therefore need not be parsed; true also when it is not certain. */
export const maySampled = (header: string): boolean => SAMPLED.test(header);
