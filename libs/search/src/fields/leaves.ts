import { geopointField, isLocation, MESSAGE_FIELDS } from '../dsl/fields.js';
import type { Point } from '../dsl/tree.js';

export type LeafType = 'number' | 'boolean' | 'string' | 'geo';

/** What one message holds in one field; of an array, its elements. */
export interface Leaf {
  type: LeafType;
  values: Array<number | boolean | string | Point>;
}

/** Why a message is not indexed. */
export interface Refusal {
  /** As a search would name it. */
  field: string;
  reason: string;
}

/** What a message holds, by the names that searches use, or what makes it impossible to index. */
export interface Leaves {
  /** Without those of MESSAGE_FIELDS, which are the same in every message. */
  leaves: Map<string, Leaf>;
  /** Names of the objects that hold the leaves: such a name can't be that of a leaf in another message. */
  objects: Set<string>;
  refusal?: Refusal;
}

// As Elasticsearch: deeper or longer names are those of data that nobody searches, and each would be kept for ever.
const MAX_LEVELS = 20;
const MAX_NAME = 512;
/** No account can have more fields, whatever its offer says: they are held in memory. */
export const MAX_FIELDS = 10_000;

const UNKEPT = /\0|\p{Surrogate}/gu;
const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** Of a document that was looked at a moment ago: the registry and the engine ask for the same. */
const known = new WeakMap<object, Leaves>();

/**
 * The leaves of a stored message (manual 13.3): those of `value` under `@<model>.value` when it has a model, of `extra` and
 * of `metadata` under their own names.
 */
export function leavesOf(source: Readonly<Record<string, unknown>>): Leaves {
  const before = known.get(source);
  if (before) return before;
  const found: Leaves = { leaves: new Map(), objects: new Set() };
  const walk = new Walk(found);
  const { model, value, extra, metadata, location } = source;
  for (const [name, text] of [
    ['model', model],
    ['metadata.source', (metadata as { source?: unknown } | null | undefined)?.source],
  ] as const)
    if (typeof text === 'string' && text.length > MAX_NAME) walk.refuse(name, `more than ${MAX_NAME} characters`);
  walk.member('extra', extra, 1);
  walk.member('metadata', metadata, 1);
  // The model is a part of the name, which is kept.
  if (typeof model === 'string' && model !== '') walk.member(`@${model}.value`, value, 0);
  walk.point('location', location);
  known.set(source, found);
  return found;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isPlace = (lat: unknown, lon: unknown): boolean =>
  typeof lat === 'number' && typeof lon === 'number' && Math.abs(lat) <= 90 && Math.abs(lon) <= 180;

class Walk {
  /** Values so far. */
  private kept = 0;

  constructor(private readonly found: Leaves) {}

  member(name: string, value: unknown, level: number): void {
    const { found } = this;
    if (found.refusal || value === null || value === undefined) return;
    if (Array.isArray(value)) {
      for (const element of value) this.member(name, element, level + 1);
      return;
    }
    if (isObject(value)) {
      const members = Object.entries(value);
      if (members.length === 0) return;
      if (level > MAX_LEVELS) return this.refuse(name, `more than ${MAX_LEVELS} levels`);
      const before = this.kept;
      for (const [key, below] of members) this.member(`${name}.${key}`, below, level + 1);
      // Without a value in it, it is nothing: so there are never many more objects than fields, which are counted.
      if (this.kept === before) return;
      if (found.leaves.has(name)) return this.mixes(name);
      found.objects.add(name);
      if (isLocation(name)) this.point(name, value);
      return;
    }
    if (typeof value === 'number' && !Number.isFinite(value)) return;
    this.kept++;
    if (Object.hasOwn(MESSAGE_FIELDS, name)) return;
    this.leaf(name, typeof value as LeafType, value as number | boolean | string);
  }

  /** A location is searchable as a point, besides its members. One that is no place on earth is not. */
  point(name: string, value: unknown): void {
    if (Array.isArray(value)) for (const element of value) this.point(name, element);
    if (!isObject(value)) return;
    const { lat, lon } = value;
    const field = geopointField(name);
    if (isPlace(lat, lon) && !Object.hasOwn(MESSAGE_FIELDS, field))
      this.leaf(field, 'geo', { lat: lat as number, lon: lon as number });
  }

  private leaf(name: string, type: LeafType, value: Leaf['values'][number]): void {
    const { leaves, objects } = this.found;
    const leaf = leaves.get(name);
    if (leaf) {
      if (leaf.type !== type) return this.mixes(name);
      leaf.values.push(value);
      return;
    }
    if (objects.has(name)) return this.mixes(name);
    if (name.length > MAX_NAME) return this.refuse(name, `a name of more than ${MAX_NAME} characters`);
    // PostgreSQL has neither.
    const shown = name.replaceAll(UNKEPT, escaped);
    if (shown !== name) return this.refuse(shown, 'a name with the character U+0000, or half a surrogate pair');
    if (leaves.size >= MAX_FIELDS) return this.refuse(name, `more than ${MAX_FIELDS} fields in one message`);
    leaves.set(name, { type, values: [value] });
  }

  private mixes(name: string): void {
    this.refuse(name, 'values of different types in one array');
  }

  refuse(field: string, reason: string): void {
    this.found.refusal ??= { field: field.slice(0, MAX_NAME), reason };
  }
}
