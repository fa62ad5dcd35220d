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

/** A stored message, and its leaves once somebody has looked at them: the registry and the engine ask for the same. */
export interface Looked {
  source: Readonly<Record<string, unknown>>;
  leaves?: Leaves;
}

/**
 * The leaves of a stored message (manual 13.3): those of `value` under `@<model>.value` when it has a model, of `extra` and
 * of `metadata` under their own names.
 */
export function leavesOf(message: Looked): Leaves {
  if (message.leaves) return message.leaves;
  const found: Leaves = { leaves: new Map(), objects: new Set() };
  const walk = new Walk(found);
  const { model, value, extra, metadata, location } = message.source;
  for (const [name, text] of [
    ['model', model],
    ['metadata.source', (metadata as { source?: unknown } | null | undefined)?.source],
  ] as const)
    if (typeof text === 'string' && text.length > MAX_NAME) walk.refuse(name, `more than ${MAX_NAME} characters`);
  walk.member(Path.of('extra'), extra, 1);
  walk.member(Path.of('metadata'), metadata, 1);
  // The model is a part of the name, which is kept.
  if (typeof model === 'string' && model !== '') walk.member(Path.of(`@${model}.value`), value, 0);
  walk.point(Path.of('location'), location);
  return (message.leaves = found);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const isPlace = (lat: unknown, lon: unknown): boolean =>
  typeof lat === 'number' && typeof lon === 'number' && Math.abs(lat) <= 90 && Math.abs(lon) <= 180;

/** Paths that are kept: those of some accounts with many fields. */
const MAX_PATHS = 50_000;

/**
 * A name, and what there is to know of it. Most messages have the names of earlier ones: to write them together, and to
 * look at them, takes longer than all the rest.
 */
class Path {
  private static kept = new Map<string, Path>();
  private static number = 0;

  private members?: Map<string, Path>;
  private pointPath?: Path;
  readonly isLocation: boolean;
  /** The same in every message. */
  readonly isOfMessage: boolean;
  /** Without what PostgreSQL does not have. */
  readonly shown: string;

  private constructor(readonly name: string) {
    // What is too long is refused, before somebody has looked at all of it.
    const short = name.length <= MAX_NAME;
    this.isLocation = short && isLocation(name);
    this.isOfMessage = short && Object.hasOwn(MESSAGE_FIELDS, name);
    this.shown = short ? name.replaceAll(UNKEPT, escaped) : name;
  }

  static of(name: string): Path {
    return Path.kept.get(name) ?? Path.keep(Path.kept, name, name);
  }

  member(key: string): Path {
    this.members ??= new Map();
    return this.members.get(key) ?? Path.keep(this.members, key, `${this.name}.${key}`);
  }

  get point(): Path {
    return (this.pointPath ??= new Path(geopointField(this.name)));
  }

  private static keep(paths: Map<string, Path>, key: string, name: string): Path {
    const path = new Path(name);
    // Senders choose names: too long ones are no fields, and too many are begun anew.
    if (name.length > MAX_NAME) return path;
    if (++Path.number > MAX_PATHS) {
      Path.number = 0;
      Path.kept = new Map();
    }
    paths.set(key, path);
    return path;
  }
}

class Walk {
  /** Values so far. */
  private kept = 0;

  constructor(private readonly found: Leaves) {}

  member(path: Path, value: unknown, level: number): void {
    const { found } = this;
    if (found.refusal || value === null || value === undefined) return;
    if (Array.isArray(value)) {
      for (const element of value) this.member(path, element, level + 1);
      return;
    }
    if (isObject(value)) {
      const keys = Object.keys(value);
      if (keys.length === 0) return;
      if (level > MAX_LEVELS) return this.refuse(path.name, `more than ${MAX_LEVELS} levels`);
      const before = this.kept;
      for (const key of keys) {
        this.member(path.member(key), value[key], level + 1);
        if (found.refusal) return;
      }
      // Without a value in it, it is nothing: so there are never many more objects than fields, which are counted.
      if (this.kept === before) return;
      if (found.leaves.has(path.name)) return this.mixes(path.name);
      found.objects.add(path.name);
      if (path.isLocation) this.point(path, value);
      return;
    }
    if (typeof value === 'number' && !Number.isFinite(value)) return;
    this.kept++;
    if (!path.isOfMessage) this.leaf(path, typeof value as LeafType, value as number | boolean | string);
  }

  /** A location is searchable as a point, besides its members. One that is no place on earth is not. */
  point(path: Path, value: unknown): void {
    if (Array.isArray(value)) for (const element of value) this.point(path, element);
    if (!isObject(value)) return;
    const { lat, lon } = value;
    if (isPlace(lat, lon) && !path.point.isOfMessage)
      this.leaf(path.point, 'geo', { lat: lat as number, lon: lon as number });
  }

  private leaf({ name, shown }: Path, type: LeafType, value: Leaf['values'][number]): void {
    const { leaves, objects } = this.found;
    const leaf = leaves.get(name);
    if (leaf) {
      if (leaf.type !== type) return this.mixes(name);
      leaf.values.push(value);
      return;
    }
    if (objects.has(name)) return this.mixes(name);
    if (name.length > MAX_NAME) return this.refuse(name, `a name of more than ${MAX_NAME} characters`);
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
