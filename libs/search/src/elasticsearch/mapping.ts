import { MESSAGE_FIELDS } from '../dsl/fields.js';
import type { Field } from '../dsl/tree.js';
import { WORD_CHARACTERS } from '../dsl/words.js';
import { leavesOf, type LeafType, type TenantFields } from '../fields/index.js';
import type { IndexedDocument } from '../search-engine.js';
import { sourceText } from '../source-filter.js';

/**
 * All tenants share an index per month of arrival: retention drops whole indices, and the number of indices does not grow
 * with that of tenants. So that the fields of one tenant are none of another's, and their types never conflict, a field has
 * the name of its slot: the 13th string field of every tenant is `s12`. Users' names are never part of a request.
 */
const LETTERS: Record<LeafType, string> = { number: 'n', boolean: 'b', string: 's', geo: 'g' };

/** No document has this field: what asks for it finds nothing, as for a field that nobody has sent. */
export const NO_FIELD = 'none';
/** Sub-field of strings: their words. */
export const WORDS = 'words';
/** Words of all strings of a document. */
export const ALL_WORDS = 'words';
/** Names of the objects that a document has. */
export const OBJECTS = 'objects';
export const TENANT = 'tenant';
/**
 * The message: what a search shows of a document. As text: Elasticsearch need not read it, and keeps its members in order.
 * The rest is kept beside it: leaving it out takes more time than disk.
 */
export const SOURCE = 'source';

const messageField = (name: string): string => name.replaceAll(/[.@]+/g, '_');

/** Name of a field in the indices. */
export function indexField(fields: TenantFields, { name }: Pick<Field, 'name'>): string {
  if (Object.hasOwn(MESSAGE_FIELDS, name)) return messageField(name);
  const learned = fields.get(name);
  return learned ? `${LETTERS[learned.type]}${learned.slot}` : NO_FIELD;
}

/** Longer strings are kept, but not searchable: Lucene's terms end at 32 KiB. */
const MAX_STRING = 8191;
const KEYWORD = { type: 'keyword' };
const TEXT = { type: 'text', analyzer: WORDS, norms: false, index_options: 'positions' };
const STRING = { ...KEYWORD, fields: { [WORDS]: TEXT } };
const MAPPINGS: Record<LeafType | 'date', object> = {
  number: { type: 'double' },
  boolean: { type: 'boolean' },
  string: STRING,
  geo: { type: 'geo_point' },
  date: { type: 'date', format: 'strict_date_optional_time||epoch_millis' },
};

/** Settings and mapping of a month's index. */
export const indexBody = (
  shards: number,
): { settings: Record<string, unknown>; mappings: Record<string, unknown> } => ({
  settings: {
    'index.number_of_shards': shards,
    'index.auto_expand_replicas': '0-1',
    // Slots of the account that has the most fields, strings with their words.
    'index.mapping.total_fields.limit': 50_000,
    analysis: {
      tokenizer: { [WORDS]: { type: 'pattern', pattern: `[^${WORD_CHARACTERS}]+` } },
      analyzer: { [WORDS]: { type: 'custom', tokenizer: WORDS, filter: ['lowercase'] } },
    },
  },
  mappings: {
    dynamic: true,
    date_detection: false,
    numeric_detection: false,
    dynamic_templates: Object.entries(LETTERS).map(([type, letter]) => ({
      [type]: { match_pattern: 'regex', match: `^${letter}\\d+$`, mapping: MAPPINGS[type as LeafType] },
    })),
    properties: {
      [TENANT]: { type: 'keyword' },
      [OBJECTS]: { type: 'keyword', doc_values: false },
      [ALL_WORDS]: TEXT,
      [SOURCE]: { type: 'object', enabled: false },
      ...Object.fromEntries(Object.entries(MESSAGE_FIELDS).map(([name, type]) => [messageField(name), MAPPINGS[type]])),
    },
  },
});

/** Index of what arrived at this time. */
export const indexOf = (prefix: string, created: string): string =>
  `${prefix}-${created.slice(0, 4)}.${created.slice(5, 7)}`;

/** What documents of an index are written to: see `ensureIndex`. */
export const writeAlias = (index: string): string => `${index}-write`;

/** Identifies a document among those of all tenants: written twice, it is there once. */
export const documentId = ({ tenantId, id }: Pick<IndexedDocument, 'tenantId' | 'id'>): string => `${tenantId}/${id}`;

const isSearchable = (text: unknown): text is string => typeof text === 'string' && text.length <= MAX_STRING;

/** Those of every message, where they are in it, and their names in the indices: looked up for each document. */
const MESSAGE_VALUES = Object.entries(MESSAGE_FIELDS).map(([name, type]) => ({
  name,
  type,
  path: name.split('.'),
  field: messageField(name),
}));

/** A document as it is written. */
export function indexedDocument(message: IndexedDocument, fields: TenantFields): Record<string, unknown> {
  const { tenantId, source } = message;
  const { leaves } = leavesOf(message);
  const objects = new Set<string>();
  const document: Record<string, unknown> = { [TENANT]: tenantId, [SOURCE]: sourceText(message) };
  const texts: string[] = [];
  for (const { name, type, path, field } of MESSAGE_VALUES) {
    const value = type === 'geo' ? placeOf(source) : valueAt(source, path);
    if (value === undefined || value === null) continue;
    addParents(objects, name);
    if (type === 'string' && Array.isArray(value)) {
      const kept = value.filter(isSearchable);
      document[field] = kept;
      for (const text of kept) texts.push(text);
    } else if (type !== 'string') document[field] = value;
    else if (isSearchable(value)) {
      document[field] = value;
      texts.push(value);
    }
  }
  for (const [name, { type, values }] of leaves) {
    const kept = type === 'string' ? values.filter(isSearchable) : values;
    const field = indexField(fields, { name });
    if (field !== NO_FIELD && kept.length > 0) {
      document[field] = kept.length === 1 ? kept[0] : kept;
      addParents(objects, name);
    }
    if (type === 'string') for (const text of kept) texts.push(text as string);
  }
  document[OBJECTS] = [...objects];
  document[ALL_WORDS] = texts;
  return document;
}

/** The names that a field's begins with, as those of objects: also where a member has a name with dots. */
function addParents(objects: Set<string>, name: string): void {
  for (let end = name.lastIndexOf('.'); end > 0; end = name.lastIndexOf('.', end - 1)) {
    const parent = name.slice(0, end);
    if (objects.has(parent)) return;
    objects.add(parent);
  }
}

function placeOf(source: Readonly<Record<string, unknown>>): unknown {
  const { lat, lon } = (source['location'] ?? {}) as { lat?: unknown; lon?: unknown };
  return typeof lat === 'number' && typeof lon === 'number' ? { lat, lon } : undefined;
}

function valueAt(source: Readonly<Record<string, unknown>>, path: readonly string[]): unknown {
  let value: unknown = source;
  for (const key of path) value = (value as Record<string, unknown> | null | undefined)?.[key];
  return value;
}
