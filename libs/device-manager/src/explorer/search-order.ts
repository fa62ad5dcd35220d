import { invalidParameter } from '@orrery/core/http';
import { normalizeTimestamp } from '@orrery/core/messages';
import { isText } from '../text.js';
import type { Statement } from './statement.js';

type Direction = 'ASC' | 'DESC';

/** One element of a sort list. Values that are missing come before all others, and so last when descending. */
interface SortKey {
  /** SQL of devices `d`, their states `s`, what their interfaces amount to `n`, and groups `g`: never null. */
  expression(direction: Direction): string;
  type: 'text' | 'timestamptz' | 'integer' | 'float8';
  /** What stands for a missing value. */
  lowest: string | number;
}

const LONG_AGO = '-infinity';

// A device with several interfaces is placed by the lowest value when ascending, by the highest when descending.
const KEYS: Record<string, SortKey> = {
  'group.path': { expression: () => 'g.path', type: 'text', lowest: '' },
  name: { expression: () => `coalesce(d.name, '')`, type: 'text', lowest: '' },
  'interfaces.status': {
    expression: (direction) => (direction === 'ASC' ? 'n.lowest_status' : 'n.highest_status'),
    type: 'text',
    lowest: '',
  },
  'interfaces.enabled': {
    expression: (direction) => (direction === 'ASC' ? 'n.lowest_enabled' : 'n.highest_enabled'),
    type: 'integer',
    lowest: -1,
  },
  // Kept nowhere else: each contact would write more for its place in an index than for itself.
  'interfaces.lastContact': {
    expression: (direction) =>
      `coalesce((SELECT ${direction === 'ASC' ? 'min' : 'max'}(i.last_contact) FROM interfaces i
         WHERE i.tenant_id = d.tenant_id AND i.device_id = d.id), '${LONG_AGO}')`,
    type: 'timestamptz',
    lowest: LONG_AGO,
  },
  lastCommunication: { expression: () => 's.last_communication', type: 'timestamptz', lowest: LONG_AGO },
  created: { expression: () => 'd.created', type: 'timestamptz', lowest: LONG_AGO },
  updated: { expression: () => 'd.updated', type: 'timestamptz', lowest: LONG_AGO },
  'network.lora.lostMessagesRatio': {
    expression: () => 'coalesce(s.lora_lost_messages_ratio, -1)',
    type: 'float8',
    lowest: -1,
  },
};
const ID: SortKey = { expression: () => 'd.id', type: 'text', lowest: '' };
const RELEVANCE = 'relevance';

interface Element {
  name: string;
  key: SortKey;
  direction: Direction;
  sql: string;
}

/** The order of a search, and the place in it where a page begins. */
export class SearchOrder {
  private readonly elements: Element[];

  /**
   * @param relevance SQL of the number of words of the query that a device matches
   * @throws ApiError 400
   */
  constructor(sort: readonly string[], relevance: string) {
    const names = sort.map((text) => text.replace(/^-/, ''));
    this.elements = sort.map((text, i) => {
      const name = names[i]!;
      const direction = text.startsWith('-') ? 'DESC' : 'ASC';
      const key = keyOf(name, relevance);
      if (!key || (name === 'id' && i < sort.length - 1) || names.indexOf(name) < i)
        throw invalidParameter(
          `sort.${i}`,
          `each of ${[...Object.keys(KEYS), RELEVANCE].join(', ')} at most once, and id at the end; - before it descends`,
        );
      return { name, key, direction, sql: key.expression(direction) };
    });
    if (this.elements.at(-1)?.name !== 'id')
      this.elements.push({ name: 'id', key: ID, direction: 'ASC', sql: ID.expression('ASC') });
    // An index goes on with the id of its own table.
    const table = /^([sn])\./.exec(this.elements[0]!.sql)?.[1];
    if (table !== undefined) this.elements.at(-1)!.sql = `${table}.device_id`;
  }

  /** SQL of what the page is ordered by, to be selected as `sort_0`, `sort_1` and so on. */
  get columns(): string {
    return this.elements.map(({ sql }, i) => `${sql} AS sort_${i}`).join(', ');
  }

  get orderBy(): string {
    return this.elements.map(({ sql, direction }) => `${sql} ${direction}`).join(', ');
  }

  /** The same of what has been selected. */
  get orderByColumns(): string {
    return this.elements.map(({ direction }, i) => `sort_${i} ${direction}`).join(', ');
  }

  /** True when devices are ordered by their groups in the first place. */
  get byGroup(): boolean {
    return this.elements[0]!.name === 'group.path';
  }

  /**
   * SQL conditions, each true for a stretch of what comes after the bookmark, the nearest first: of equal values, of which
   * there may be a million, an index begins within. @throws ApiError 400
   */
  after(bookmark: readonly unknown[], { bind }: Statement): string[] {
    if (bookmark.length !== this.elements.length)
      throw invalidParameter('bookmark', `a value of each of ${this.elements.map(({ name }) => name).join(', ')}`);
    const places = this.elements.map(({ key, direction, sql }, i) => ({
      sql,
      beyond: direction === 'ASC' ? '>' : '<',
      value: `CAST(${bind(parseValue(key, bookmark[i], `bookmark.${i}`))} AS ${key.type})`,
    }));
    const last = places.at(-1)!;
    return places
      .map((place, i) => [
        ...places.slice(0, i).map(({ sql, value }) => `${sql} = ${value}`),
        `${place.sql} ${place.beyond} ${place.value}`,
        // PostgreSQL does not conclude it from the other table's.
        ...(place === last && place.sql !== 'd.id' ? [`d.id ${place.beyond} ${place.value}`] : []),
      ])
      .map((conditions) => conditions.join(' AND '))
      .toReversed();
  }

  /** The bookmark of a row that was selected with `columns`. */
  bookmarkOf(row: Record<string, unknown>): unknown[] {
    return this.elements.map(({ name, key }, i) => {
      const value = row[`sort_${i}`];
      if (value === key.lowest || value === Number.NEGATIVE_INFINITY) return null;
      if (name === 'interfaces.enabled') return value === 1;
      if (key.type === 'text' || value instanceof Date) return value;
      return Number(value);
    });
  }
}

function keyOf(name: string, relevance: string): SortKey | undefined {
  if (name === 'id') return ID;
  if (name === RELEVANCE) return { expression: () => `(${relevance})`, type: 'integer', lowest: -1 };
  return Object.hasOwn(KEYS, name) ? KEYS[name] : undefined;
}

function parseValue({ type, lowest }: SortKey, value: unknown, field: string): string | number {
  if (value === null) return lowest;
  switch (type) {
    case 'text':
      if (isText(value, 0, 4096)) return value;
      throw invalidParameter(field, 'a string');
    case 'timestamptz': {
      const instant = normalizeTimestamp(value);
      if (instant !== undefined) return instant;
      throw invalidParameter(field, 'a date as a response had it');
    }
    case 'integer':
      if (typeof value === 'boolean') return Number(value);
      if (Number.isInteger(value) && Math.abs(value as number) < 2 ** 31) return value as number;
      throw invalidParameter(field, 'a whole number or a boolean');
    case 'float8':
      if (typeof value === 'number') return value;
      throw invalidParameter(field, 'a number');
  }
}
