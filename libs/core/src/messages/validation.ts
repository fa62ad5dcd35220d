import { FORBIDDEN_STREAM_ID, type Location } from './data-message.js';

/** Largest `value`, in bytes of its JSON (manual 15.2.1). */
export const MAX_VALUE_BYTES = 1_048_576;
/** Most tags of one message (manual 23.3). */
export const MAX_TAGS = 10;

/** What is wrong with one field: its path and what was expected. */
export interface FieldError {
  field: string;
  expected: string;
}

/** The fields a publisher may set, checked and normalized. */
export interface PublishedMessage {
  streamId?: string;
  timestamp?: string;
  model?: string;
  value?: Record<string, unknown>;
  location?: Location;
  tags: string[];
  metadata: { encoding?: string; source?: string };
  /** See `MessageHeader`. */
  binary?: true;
  /** Set when a location was given and left out because it is incomplete. */
  locationError?: FieldError;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

// ISO 8601 as devices send it: a date, then optionally a time with a fraction and a zone.
const ISO_8601 = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2})(:\d{2})?(?:[.,](\d{1,9}))?(?:(Z)|([+-]\d{2}):?(\d{2})?)?)?$/;

/** The instant in ISO 8601 UTC with milliseconds, or undefined when the text is no ISO 8601 date. No zone means UTC. */
export function normalizeTimestamp(text: unknown): string | undefined {
  const parts = typeof text === 'string' ? ISO_8601.exec(text) : null;
  if (!parts) return undefined;
  const [, date, time = '00:00', seconds = ':00', fraction = '0', , hours, minutes = '00'] = parts;
  const instant = new Date(`${date}T${time}${seconds}.${fraction.slice(0, 3)}${hours ? `${hours}:${minutes}` : 'Z'}`);
  // Date rolls 30 February over into March instead of refusing it.
  const rolled = new Date(`${date}T00:00:00Z`);
  if (
    date!.startsWith('0000') ||
    Number.isNaN(instant.getTime()) ||
    // A zone may move the instant out of the years that have four digits: nothing could store it.
    !/^\d{4}-/.test(instant.toISOString()) ||
    instant.getUTCFullYear() < 1 ||
    Number.isNaN(rolled.getTime()) ||
    !rolled.toISOString().startsWith(date!)
  )
    return undefined;
  return instant.toISOString();
}

const finite = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

/** A location needs lat and lon in degrees (manual 15.3.1); null members count as absent. */
export function parseLocation(input: unknown): Location | FieldError {
  if (!isObject(input)) return { field: 'location', expected: 'an object with lat and lon' };
  const { lat, lon, alt, accuracy, provider } = input;
  if (!finite(lat) || lat < -90 || lat > 90) return { field: 'location.lat', expected: 'a number from -90 to 90' };
  if (!finite(lon) || lon < -180 || lon > 180) return { field: 'location.lon', expected: 'a number from -180 to 180' };
  const location: Location = { lat, lon };
  for (const [name, number] of [
    ['alt', alt],
    ['accuracy', accuracy],
  ] as const) {
    if (number === undefined || number === null) continue;
    if (!finite(number)) return { field: `location.${name}`, expected: 'a number' };
    location[name] = number;
  }
  if (provider !== undefined && provider !== null) {
    if (typeof provider !== 'string') return { field: 'location.provider', expected: 'a string' };
    location.provider = provider;
  }
  return location;
}

export const isFieldError = (value: Location | FieldError): value is FieldError => 'field' in value;

/** Deepest nesting of `value`: parsing has no limit, but writing and whatever reads it later has. */
export const MAX_DEPTH = 1000;

/** Whether a value of a client has at most `MAX_DEPTH` levels. Level by level: the input decides the depth. */
export function isShallow(value: unknown): boolean {
  let level = [value];
  for (let depth = 0; depth <= MAX_DEPTH; depth++) {
    level = level
      .filter((each) => typeof each === 'object' && each !== null)
      .flatMap((each) => Object.values(each as object));
    if (level.length === 0) return true;
  }
  return false;
}

/** A field name that contains a dot, at any depth, or too many levels. Level by level: the input decides the depth. */
export function checkNames(value: Record<string, unknown>): FieldError | undefined {
  let level: object[] = [value];
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) return { field: 'value', expected: `at most ${MAX_DEPTH} levels` };
    const below: object[] = [];
    for (const each of level)
      if (Array.isArray(each)) {
        for (const element of each) if (typeof element === 'object' && element !== null) below.push(element as object);
      } else {
        for (const [name, member] of Object.entries(each)) {
          if (name.includes('.'))
            return { field: `value: "${name.slice(0, 256)}"`, expected: 'field names without a dot' };
          if (typeof member === 'object' && member !== null) below.push(member as object);
        }
      }
    level = below;
  }
  return undefined;
}

export function checkStreamId(streamId: unknown): FieldError | undefined {
  if (typeof streamId !== 'string' || streamId === '' || streamId.length > 256 || FORBIDDEN_STREAM_ID.test(streamId))
    return { field: 'streamId', expected: 'a string of 1 to 256 characters without \' " \\ ; { } ( ) and space' };
  return undefined;
}

/**
 * Checks what a device or application published (manual 15.2.1) and lists every bad field.
 * @param bytes size of the JSON text, which spares measuring `value` when the whole is small.
 */
export function parsePublished(input: unknown, bytes: number): PublishedMessage | FieldError[] {
  if (!isObject(input)) return [{ field: '', expected: 'a JSON object' }];
  const errors: FieldError[] = [];
  const message: PublishedMessage = { tags: [], metadata: {} };

  const streamId = input['streamId'] ?? undefined;
  if (streamId !== undefined) {
    const error = checkStreamId(streamId);
    if (error) errors.push(error);
    else message.streamId = streamId as string;
  }
  const timestamp = input['timestamp'] ?? undefined;
  if (timestamp !== undefined) {
    message.timestamp = normalizeTimestamp(timestamp);
    if (message.timestamp === undefined) errors.push({ field: 'timestamp', expected: 'an ISO 8601 date and time' });
  }
  const model = input['model'] ?? undefined;
  if (model !== undefined) {
    if (typeof model !== 'string' || /[ .]/.test(model))
      errors.push({ field: 'model', expected: 'a string without space and dot' });
    else message.model = model;
  }
  const value = input['value'] ?? undefined;
  if (value !== undefined) {
    if (!isObject(value)) errors.push({ field: 'value', expected: 'a JSON object' });
    else {
      const error = checkNames(value);
      if (error) errors.push(error);
      else if (bytes > MAX_VALUE_BYTES && Buffer.byteLength(JSON.stringify(value)) > MAX_VALUE_BYTES)
        errors.push({ field: 'value', expected: `at most ${MAX_VALUE_BYTES} bytes of JSON` });
      else message.value = value;
    }
  }
  const location = input['location'] ?? undefined;
  if (location !== undefined) {
    const parsed = parseLocation(location);
    if (isFieldError(parsed)) message.locationError = parsed;
    else message.location = parsed;
  }
  const tags = input['tags'] ?? undefined;
  if (tags !== undefined) {
    if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === 'string'))
      errors.push({ field: 'tags', expected: 'an array of strings' });
    else if (tags.length > MAX_TAGS) errors.push({ field: 'tags', expected: `at most ${MAX_TAGS} tags` });
    else message.tags = tags;
  }
  const metadata = input['metadata'] ?? undefined;
  if (metadata !== undefined) {
    if (!isObject(metadata)) errors.push({ field: 'metadata', expected: 'an object' });
    else
      for (const name of ['encoding', 'source'] as const) {
        const text = metadata[name] ?? undefined;
        if (text === undefined) continue;
        if (typeof text !== 'string') errors.push({ field: `metadata.${name}`, expected: 'a string' });
        else message.metadata[name] = text;
      }
  }
  return errors.length > 0 ? errors : message;
}

/** One line for an audit entry or an error detail. */
export const describeErrors = (errors: readonly FieldError[]): string =>
  errors.map((error) => `${error.field || 'message'}: expected ${error.expected}`).join('; ');
