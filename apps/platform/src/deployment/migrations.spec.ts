import type { QueryRunner } from 'typeorm';
import { coreMigrations } from '@orrery/core/database';
import { services } from '../services.js';

// Upgrades without downtime: while the migration job runs, and until the last instance is replaced, processes of the
// version before work on the schema. So a version only adds (expand); what nothing uses any more goes in a later one
// (contract), whose statement says since when: `-- unused since 0.3.0`.

/** Migrations up to here are part of the first version: no version before them works on their tables. */
const FIRST_VERSION = 1700000999999;

interface Rule {
  what: string;
  pattern: RegExp;
  instead: string;
}
/** Statements that break processes of the version before. */
const BREAKING: Rule[] = [
  { what: 'drops what they read', pattern: /\bDROP\s+(TABLE|VIEW|COLUMN|SCHEMA|FUNCTION|TYPE)\b/i, instead: 'later' },
  {
    what: 'drops a column',
    pattern: /\bALTER\s+TABLE\s[^;]*\bDROP\s+(?!CONSTRAINT|DEFAULT|NOT\b|EXPRESSION|IDENTITY)/i,
    instead: 'later',
  },
  { what: 'renames', pattern: /\bRENAME\b/i, instead: 'add the new name beside the old one' },
  {
    what: 'adds a column that they do not fill in',
    pattern:
      /\bADD\s+(?:COLUMN\s+)?(?!CONSTRAINT|PRIMARY|UNIQUE|CHECK|FOREIGN)\w+\s+(?![^,;]*\b(?:DEFAULT|GENERATED)\b)[^,;]*\bNOT\s+NULL\b/i,
    instead: 'give it a default',
  },
  { what: 'refuses what they write', pattern: /\bSET\s+NOT\s+NULL\b/i, instead: 'later' },
  {
    what: 'changes the type of a column, for which it locks and writes the whole table',
    pattern: /\bALTER\s+(?:COLUMN\s+)?\w+\s+(?:SET\s+DATA\s+)?TYPE\b/i,
    instead: 'add another column',
  },
  { what: 'deletes everything', pattern: /\bTRUNCATE\b/i, instead: 'later' },
];
const MARK = /--\s*unused since \d+\.\d+\.\d+/;

/** Without comments and texts, whose words are none of SQL's; the mark is looked for before. */
const bare = (sql: string): string =>
  sql.replaceAll(/'(?:[^']|'')*'|--.*$|\/\*[\s\S]*?\*\//gm, (part) => (part.startsWith("'") ? "''" : ''));

function problemsOf(statements: string[]): string[] {
  const problems: string[] = [];
  // What this same migration makes may go and change in it.
  const made = new Set(
    statements.flatMap((sql) =>
      [...bare(sql).matchAll(/\bCREATE\s+(?:UNLOGGED\s+)?TABLE\s+(\w+)/gi)].map(([, t]) => t),
    ),
  );
  for (const statement of statements.flatMap((sql) => (MARK.test(sql) ? [] : bare(sql).split(';')))) {
    const table = /\b(?:ALTER|DROP)\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(\w+)/i.exec(statement)?.[1];
    if (table !== undefined && made.has(table)) continue;
    const broken = BREAKING.find(({ pattern }) => pattern.test(statement));
    if (broken) problems.push(`${broken.what} (${broken.instead}): ${statement.trim().replaceAll(/\s+/g, ' ')}`);
  }
  return problems;
}

/** What a migration would run, without running it. */
async function statementsOf(migration: new () => { up(runner: QueryRunner): Promise<unknown> }): Promise<string[]> {
  const statements: string[] = [];
  const runner = {
    query: (sql: string) => {
      statements.push(sql);
      return Promise.resolve([]);
    },
  };
  await new migration().up(runner as unknown as QueryRunner);
  return statements;
}
const timestampOf = ({ name }: { name: string }): number => Number(/\d{13}$/.exec(name)?.[0]);

const migrations = [
  ...coreMigrations.map((migration) => ({ schema: 'core', migration })),
  ...services.flatMap(({ schema }) =>
    (schema?.migrations ?? []).map((migration) => ({ schema: schema!.name, migration })),
  ),
];

it('finds the migrations of every schema, and what they do', async () => {
  expect(migrations.length).toBeGreaterThan(20);
  for (const { schema, migration } of migrations) {
    // The order in which they run.
    expect({ schema, name: migration.name, time: timestampOf(migration) }).toMatchObject({ time: expect.any(Number) });
    expect(timestampOf(migration)).toBeGreaterThan(0);
    expect((await statementsOf(migration)).length).toBeGreaterThan(0);
  }
});

it('runs the migrations of a schema in an order of their own', () => {
  for (const schema of new Set(migrations.map((each) => each.schema))) {
    const times = migrations.filter((each) => each.schema === schema).map(({ migration }) => timestampOf(migration));
    expect(new Set(times).size).toBe(times.length);
  }
});

it('has no migration that breaks processes of the version before', async () => {
  const problems: string[] = [];
  for (const { schema, migration } of migrations)
    if (timestampOf(migration) > FIRST_VERSION)
      for (const problem of problemsOf(await statementsOf(migration)))
        problems.push(`${schema}: ${migration.name} ${problem}`);
  expect(problems).toEqual([]);
});

describe('what breaks them', () => {
  it.each([
    'DROP TABLE devices',
    'ALTER TABLE devices DROP COLUMN name',
    'ALTER TABLE devices DROP name',
    'ALTER TABLE devices ADD note text, DROP name',
    'ALTER TABLE devices RENAME COLUMN name TO label',
    'ALTER TABLE devices RENAME TO things',
    'ALTER TABLE devices ADD COLUMN owner text NOT NULL',
    'ALTER TABLE devices ADD owner text NOT NULL, ADD note text DEFAULT 1',
    'ALTER TABLE devices ALTER COLUMN name SET NOT NULL',
    'ALTER TABLE devices ALTER COLUMN name TYPE varchar(20)',
    'ALTER TABLE devices ALTER name SET DATA TYPE int',
    'drop view api_keys_in_force',
    'CREATE TABLE a (b int); DROP TABLE devices',
    "ALTER TABLE devices ADD note text DEFAULT '--'; DROP TABLE groups",
    'TRUNCATE devices',
  ])('%s', (sql) => {
    expect(problemsOf([sql])).toHaveLength(1);
    expect(problemsOf([`${sql} -- unused since 0.2.0`])).toEqual([]);
  });

  it.each([
    'CREATE TABLE a (b int NOT NULL)',
    'ALTER TABLE devices ADD COLUMN owner text',
    'ALTER TABLE devices ADD COLUMN count int NOT NULL DEFAULT 0',
    'ALTER TABLE devices ADD count int DEFAULT 0 NOT NULL',
    'ALTER TABLE devices ADD COLUMN searched text GENERATED ALWAYS AS (lower(name)) STORED NOT NULL',
    'ALTER TABLE devices ADD PRIMARY KEY (id)',
    'ALTER TABLE devices ALTER COLUMN body SET STORAGE EXTERNAL',
    'ALTER TABLE devices ALTER COLUMN name DROP NOT NULL',
    'ALTER TABLE devices DROP CONSTRAINT one',
    'DROP INDEX devices_by_name',
    'CREATE TABLE a (b int); ALTER TABLE a RENAME b TO c; DROP TABLE a',
    "INSERT INTO rules (text) VALUES ('DROP TABLE x; RENAME')",
    'CREATE INDEX i ON devices (name) -- because RENAME needs it',
  ])('is not %s', (sql) => {
    expect(problemsOf([sql])).toEqual([]);
  });
});
