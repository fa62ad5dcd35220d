import {
  type DataMessage,
  isFieldError,
  type Location,
  MAX_VALUE_BYTES,
  type MessageHeader,
  parseLocation,
  splitMessageId,
} from '@orrery/core/messages';
import type { DecodedItem } from '../decoders/decoded-item.js';
import { type DecodedFields, DecodingError } from '../decoding.js';
import { jsonText } from '../templates/json-text.js';

/** A message as it goes on. */
export interface Outgoing {
  header: MessageHeader;
  body: string;
}

/** Most bytes that the messages of one split message take together. */
const MAX_SPLIT_BYTES = 2 * MAX_VALUE_BYTES;

/**
 * The message with what was decoded of it (manual 11.3.2.2), or the messages that it was split into (11.3.5.1).
 * @throws DecodingError when they are larger than messages may be.
 */
export function decodedMessages(
  header: MessageHeader,
  message: DataMessage,
  items: readonly DecodedItem[],
  decoder: { model: string | null; split: boolean },
): Outgoing[] {
  let bytes = 0;
  return items.map(({ fields, timestamp = message.timestamp }, rank) => {
    const location = decodedLocation(fields);
    const { network, ...metadata } = message.metadata;
    const { transformation } = metadata;
    const decoded = {
      ...(location ? { location } : {}),
      ...(decoder.split ? { split: { rank } } : {}),
    };
    const id = splitMessageId(message.id, rank);
    const outgoing: DataMessage = {
      ...message,
      id,
      timestamp,
      ...(decoder.model === null ? {} : { model: decoder.model }),
      value: merged(message.value!, fields),
      metadata: {
        ...metadata,
        // Once is enough, for those who count what the network carried.
        ...(network && rank === 0 ? { network } : {}),
        ...(Object.keys(decoded).length > 0 ? { transformation: { ...transformation, decoder: decoded } } : {}),
      },
      // A static location outranks the decoded one, which outranks the others (manual 15.3.6.1).
      ...(location && !metadata.device?.location ? { location } : {}),
    };
    const body = jsonText(outgoing);
    checkSize(body, outgoing.value!);
    bytes += body.length;
    if (bytes > MAX_SPLIT_BYTES)
      throw new DecodingError(`the messages of the split decoder have more than ${MAX_SPLIT_BYTES} bytes`);
    return { header: { ...header, id, timestamp }, body };
  });
}

/** What the message had stays: the payload, and what the network said (manual 11.3.2.2, table 7). */
function merged(value: DecodedFields, fields: DecodedFields): DecodedFields {
  // Without a prototype, as fields may have any name.
  const result = Object.assign(Object.create(null) as DecodedFields, value);
  for (const [name, field] of Object.entries(fields)) if (!(name in result)) result[name] = field;
  return result;
}

function decodedLocation({ location }: DecodedFields): Location | undefined {
  if (location === undefined || location === null) return undefined;
  const parsed = parseLocation(location);
  return isFieldError(parsed) ? undefined : { provider: 'device', ...parsed };
}

function checkSize(body: string, value: DecodedFields): void {
  // A character has at most three bytes.
  if (body.length * 3 <= MAX_VALUE_BYTES) return;
  if (Buffer.byteLength(body) > MAX_VALUE_BYTES && Buffer.byteLength(jsonText(value)) > MAX_VALUE_BYTES)
    throw new DecodingError(`the decoded value has more than ${MAX_VALUE_BYTES} bytes of JSON`);
}
