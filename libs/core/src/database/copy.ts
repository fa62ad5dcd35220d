import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { from as copyFrom } from 'pg-copy-streams';
import type { EntityManager } from 'typeorm';
import { driverClient } from './database.js';

type Column = string | number | Date | null | undefined;

// COPY's text format: tab between columns, \N for null, backslash as the escape.
function escape(value: Column): string {
  if (value === null || value === undefined) return '\\N';
  if (value instanceof Date) return value.toISOString();
  if (typeof value === 'number') return String(value);
  return /[\\\t\n\r]/.test(value)
    ? value.replace(/[\\\t\n\r]/g, (c) => (c === '\\' ? '\\\\' : c === '\t' ? '\\t' : c === '\n' ? '\\n' : '\\r'))
    : value;
}

/** Writes rows by COPY within the manager's transaction: several times faster than INSERT. */
export async function copyRows(
  manager: EntityManager,
  table: string,
  columns: readonly string[],
  rows: Iterable<readonly Column[]>,
): Promise<void> {
  let text = '';
  for (const row of rows) {
    let line = escape(row[0]);
    for (let i = 1; i < row.length; i++) line += `\t${escape(row[i])}`;
    text += `${line}\n`;
  }
  if (text === '') return;
  const client = await driverClient(manager);
  await pipeline(
    Readable.from([Buffer.from(text)]),
    client.query(copyFrom(`COPY ${table} (${columns.join(', ')}) FROM STDIN`)),
  );
}
