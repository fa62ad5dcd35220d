import { MESSAGE_FIELDS } from '../dsl/fields.js';
import type { FieldType } from '../dsl/tree.js';
import type { Leaves, LeafType, Refusal } from './leaves.js';

export interface LearnedField {
  type: LeafType;
  /** Counts from 0 within the tenant and the type: what an engine that serves all tenants names the field. */
  slot: number;
}

/** A row of the table `fields`. */
export interface FieldRow {
  name: string;
  type: LeafType | 'object';
  slot: number;
}

/** The fields of a tenant. They only ever become more: what is known here holds, although it may not be all. */
export class TenantFields {
  private readonly rows = new Map<string, FieldRow>();
  private readonly slots: Record<FieldRow['type'], number> = { number: 0, boolean: 0, string: 0, geo: 0, object: 0 };

  /** All rows, those of objects too: the number tells whether there are newer ones. */
  get size(): number {
    return this.rows.size;
  }

  /** Those that the limit counts: an object is nothing by itself, and the point of a location comes with it. */
  get counted(): number {
    const { number, boolean, string } = this.slots;
    return number + boolean + string;
  }

  get(name: string): LearnedField | undefined {
    const row = this.rows.get(name);
    return row && row.type !== 'object' ? { type: row.type, slot: row.slot } : undefined;
  }

  /** Type of a field as searches ask for it. */
  readonly typeOf = (name: string): FieldType | undefined =>
    Object.hasOwn(MESSAGE_FIELDS, name) ? MESSAGE_FIELDS[name] : this.get(name)?.type;

  /** Names and fields below an object, such as those of `extra`. */
  *below(name: string): Iterable<[string, LearnedField]> {
    const prefix = `${name}.`;
    for (const [each, { type, slot }] of this.rows)
      if (type !== 'object' && each.startsWith(prefix)) yield [each, { type, slot }];
  }

  *ofType(type: LeafType): Iterable<LearnedField> {
    for (const row of this.rows.values()) if (row.type === type) yield { type, slot: row.slot };
  }

  add(row: FieldRow): void {
    if (this.rows.has(row.name)) return;
    this.rows.set(row.name, row);
    this.slots[row.type] = Math.max(this.slots[row.type], row.slot + 1);
  }

  /** True when each field of the message is known with its type: no need to learn anything. */
  covers({ leaves, objects }: Leaves): boolean {
    for (const [name, { type }] of leaves) if (this.rows.get(name)?.type !== type) return false;
    for (const name of objects) if (this.rows.get(name)?.type !== 'object') return false;
    return true;
  }

  /**
   * Adds what is new in a message, or nothing of it when it can't be indexed.
   * @returns the new rows, or why it can't.
   */
  learn({ leaves, objects }: Leaves, limit: number): FieldRow[] | Refusal {
    const added: FieldRow[] = [];
    const next = { ...this.slots };
    const check = (name: string, type: FieldRow['type']): Refusal | undefined => {
      const row = this.rows.get(name);
      if (!row) added.push({ name, type, slot: next[type]++ });
      else if (row.type !== type)
        return { field: name, reason: `${NAMES[type]} where earlier messages have ${NAMES[row.type]}` };
      return undefined;
    };
    for (const name of objects) {
      const refusal = check(name, 'object');
      if (refusal) return refusal;
    }
    for (const [name, { type }] of leaves) {
      const refusal = check(name, type);
      if (refusal) return refusal;
      if (next.number + next.boolean + next.string > limit && !this.rows.has(name) && type !== 'geo')
        return { field: name, reason: `${limit} fields exceeded` };
    }
    for (const row of added) this.add(row);
    return added;
  }
}

const NAMES = {
  number: 'a number',
  boolean: 'a boolean',
  string: 'a string',
  geo: 'a location',
  object: 'an object',
} as const;
