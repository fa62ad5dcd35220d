/**
 * JSON that PostgreSQL's jsonb takes: it has no character 0 and no half of a surrogate pair, which topics and
 * payloads of devices may hold. JSON.stringify leaves both as escapes, and nothing else as \ud800 to \udfff.
 */
export const entryJson = (value: unknown): string =>
  JSON.stringify(value).replace(/\\(?:u([0-9a-f]{4})|.)/g, (escape, code?: string) =>
    code === '0000' || code?.startsWith('d') ? '\\ufffd' : escape,
  );
