import type { Database } from '@orrery/core/database';
import { expectsFew } from './few-devices.js';
import { Statement } from './statement.js';

/** SQL of a free text search (manual 9.4.2), for devices `d`. */
export interface FreeText {
  /** All are true for a device that matches any of the words. */
  conditions: string[];
  /** How many of the words it matches. */
  relevance: string;
}

/** From so many characters a word is found inside of others; a shorter one is found as a whole word. */
const PART = 3;

/** What is between words: as `grams` in the migration has it. */
const BETWEEN = '[\\s!-/:-@[-`{-~]';

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
  const words = await lookUp(database, statement.tenantId, given);
  const { bind } = statement;
  const compared = words.map((word) => `(${comparison(word, bind)}${inGroups(word, bind)})`);
  return {
    conditions: [
      ...((await few(database, statement.tenantId, words)) ? [indexed(words, bind)] : []),
      `(${compared.join(' OR ')})`,
    ],
    relevance: compared.map((each) => `CAST(${each} AS integer)`).join(' + '),
  };
}

type Bind = Statement['bind'];

// Named only where there are some: how many devices they hold, nobody could tell PostgreSQL before.
const inGroups = ({ groups }: Word, bind: Bind): string =>
  groups.length === 0 ? '' : ` OR d.group_id = ANY(CAST(${bind(groups)} AS text[]))`;

/** What the index can answer. It may be true for a few devices that have the parts of a word and not the word. */
const indexed = (words: Word[], bind: Bind): string =>
  `(${words.map((word) => `grams(d.searched) @> CAST(${bind(word.grams)} AS text[])${inGroups(word, bind)}`).join(' OR ')})`;

/**
 * Few devices the index is asked for. A look at the text takes a microsecond, and at what the index would say of it a
 * hundred.
 */
function few(database: Database, tenantId: string, words: Word[]): Promise<boolean> {
  const { bind, values } = new Statement(tenantId);
  return expectsFew(database, 'devices d', `d.tenant_id = $1 AND ${indexed(words, bind)}`, values);
}

function comparison({ lowered }: Word, bind: Bind): string {
  if ([...lowered].length >= PART) return `strpos(d.searched, ${bind(lowered)}) > 0`;
  // No word has a character in it that is between words; all others mean themselves in an expression.
  if (new RegExp(BETWEEN, 'u').test(lowered)) return 'false';
  return `d.searched ~ ${bind(`(^|${BETWEEN})${lowered}($|${BETWEEN})`)}`;
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
