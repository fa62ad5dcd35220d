import type { Database } from '@orrery/core/database';
import { entryJson } from './entry-json.js';
import type { AuditMessage } from './message.dto.js';
import type { MessagesQuery } from './messages.query.js';
import { KEPT_DAYS } from './retention.js';

export class MessagesService {
  constructor(private readonly database: Database) {}

  async search(tenantId: string, query: MessagesQuery): Promise<AuditMessage[]> {
    const parameters: unknown[] = [];
    const parameter = (value: unknown): string => `$${parameters.push(value)}`;
    const conditions = [
      `tenant_id = ${parameter(tenantId)}`,
      `timestamp >= now() - make_interval(days => ${parameter(KEPT_DAYS)})`,
    ];
    if (query.from !== undefined) conditions.push(`timestamp >= ${parameter(query.from)}`);
    if (query.to !== undefined) conditions.push(`timestamp <= ${parameter(query.to)}`);
    for (const [path, value] of query.fields)
      conditions.push(`entry @> ANY (${parameter(candidates(path, value))}::jsonb[])`);
    for (const text of query.texts)
      conditions.push(
        `EXISTS (SELECT FROM jsonb_path_query(entry, 'strict $.**') AS part
          WHERE jsonb_typeof(part) NOT IN ('object', 'array')
            AND strpos(lower(part #>> '{}'), lower(${parameter(text.replaceAll('\0', '\ufffd'))})) > 0)`,
      );
    const direction = query.ascending ? 'ASC' : 'DESC';
    const rows = await this.database.query<{ entry: Omit<AuditMessage, 'created'>; created: Date }>(
      `SELECT entry, created FROM messages WHERE ${conditions.join(' AND ')}
       ORDER BY timestamp ${direction}, id ${direction} LIMIT ${parameter(query.limit)} OFFSET ${parameter(query.offset)}`,
      parameters,
    );
    return rows.map(({ entry, created }) => ({ ...entry, created: created.toISOString() }));
  }
}

/** What a message contains that has the value at the path: the text, or the number or truth value that it stands for. */
function candidates(path: string, value: string): string[] {
  const at = (leaf: unknown): string =>
    entryJson(path.split('.').reduceRight((inner, name) => ({ [name]: inner }), leaf));
  const scalar = /^(true|false|-?(0|[1-9]\d{0,14})(\.\d{1,15})?)$/.test(value);
  return scalar ? [at(value), at(JSON.parse(value))] : [at(value)];
}
