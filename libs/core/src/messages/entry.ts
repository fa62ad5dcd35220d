// An entry of the bus holds many messages: a line of header and a line of body each. JSON never holds a raw line
// break, so a reader that needs the header only copies the body without parsing it.

/** A header and the JSON text of its message or event. */
export interface EntryItem {
  header: string;
  body: string;
}

export function encodeEntry(items: readonly EntryItem[]): string {
  let text = '';
  for (const item of items) text += `${text === '' ? '' : '\n'}${item.header}\n${item.body}`;
  return text;
}

/** @throws Error when the entry was not written by {@link encodeEntry}. */
export function decodeEntry(data: Uint8Array): EntryItem[] {
  if (data.byteLength === 0) return [];
  const lines = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('utf8').split('\n');
  if (lines.length % 2 !== 0) throw new Error(`entry of ${data.byteLength} bytes is not made of header and body lines`);
  const items: EntryItem[] = [];
  for (let i = 0; i < lines.length; i += 2) items.push({ header: lines[i]!, body: lines[i + 1]! });
  return items;
}

/**
 * Several items as one: an entry that holds it is read as if it held each of them. For the outbox, where a row per
 * message would cost more than the message.
 */
export function packItems(items: readonly EntryItem[]): EntryItem {
  const [first, ...others] = items;
  if (!first) throw new TypeError('nothing to pack');
  return others.length === 0 ? first : { header: first.header, body: `${first.body}\n${encodeEntry(others)}` };
}
