import type { Database } from '@orrery/core/database';
import type { Statement } from './statement.js';

/** SQL of a free text search (manual 9.4.2), for devices `d`. */
export interface FreeText {
  /** True for a device that matches any of the words. */
  condition: string;
  /** How many of the words it matches. */
  relevance: string;
}

/** From so many characters a word is found inside of others; a shorter one is found as a whole word. */
const PART = 3;

interface Word {
  lowered: string;
  /** What the index has of it (see the migration). */
  grams: string[];
  /** Groups whose paths match. */
  groups: string[];
}

/** Without words, everything is found. */
export async function freeText(database: Database, query: string, statement: Statement): Promise<FreeText | undefined> {
  const given = [...new Set(query.split(/\s+/).filter((word) => word !== ''))];
  if (given.length === 0) return undefined;
  const { bind } = statement;
  const conditions = (await lookUp(database, statement.tenantId, given)).map(({ lowered, grams, groups }) => {
    // Where the index is not used, comparing is the quicker look.
    const inDevice = `(strpos(d.searched, ${bind(lowered)}) > 0 AND grams(d.searched) @> CAST(${bind(grams)} AS text[]))`;
    // Named only where there are some: how many devices they hold, nobody can tell PostgreSQL before.
    return groups.length === 0 ? inDevice : `(${inDevice} OR d.group_id = ANY(CAST(${bind(groups)} AS text[])))`;
  });
  return {
    condition: `(${conditions.join(' OR ')})`,
    relevance: conditions.map((condition) => `CAST(${condition} AS integer)`).join(' + '),
  };
}

const lookUp = (database: Database, tenantId: string, words: string[]): Promise<Word[]> =>
  database.query<Word>(
    `SELECT w.lowered, w.grams, ARRAY(
       SELECT g.id FROM groups g CROSS JOIN lower(g.path COLLATE "default") AS lowered_path
       WHERE g.tenant_id = $1 AND strpos(lowered_path, w.lowered) > 0 AND grams(lowered_path) @> w.grams) AS groups
     FROM (
       SELECT lowered, CASE WHEN length(lowered) < ${PART} THEN ARRAY[lowered]
         ELSE ARRAY(SELECT gram FROM unnest(grams(lowered)) AS gram WHERE length(gram) = ${PART}) END AS grams
       FROM unnest($2::text[]) AS given (word), lower(word) AS lowered) w`,
    [tenantId, words],
  );
