import { invalidParameter } from '@orrery/core/http';
import { isText } from '../text.js';
import { lostMessagesRange } from './filters.js';
import type { Statement } from './statement.js';

/** SQL of rows of devices `d` with their state `s` and group `g`, or of components alone. */
export interface KeyedSql {
  /** Null where a device or component has none. */
  key: string;
  /** What `d` is joined with to get it. */
  join?: string;
  where?: string[];
  /** What is true for the rows that count, by their columns. */
  having?: string;
}

/** How devices, or components of theirs, are grouped by the values of a field. */
export type FieldGrouping = {
  kind: 'field';
  inner?: FieldGrouping;
  /**
   * SQL of rows (key, count) of devices that have the same text `same.kinds`, how many components of each key one of them
   * has: so they are counted without a look at each device. See the migration of `device_interfaces`.
   */
  ofKinds?(bind: Statement['bind']): string;
} & (
  | { of: 'devices'; sql(): KeyedSql }
  /** A table of components that names their devices: many rows of one device may have one key. */
  | { of: 'components'; table: string; alias: string; sql(bind: Statement['bind']): KeyedSql }
  /** One row per device and key: of `count` components, and marked when it is the `first` one of its device. */
  | { of: 'elements'; sql(bind: Statement['bind']): KeyedSql & { count: string; first: string } }
);

export interface GeoGrouping {
  kind: 'geo';
  /** Characters of a geohash. */
  precision: number;
  inner?: FieldGrouping;
}

const DEFAULT_PRECISION = 5;

const plain = (key: string, join?: string): FieldGrouping => ({
  kind: 'field',
  of: 'devices',
  sql: () => ({ key, ...(join === undefined ? {} : { join }) }),
});

const FIELDS: Record<string, FieldGrouping> = {
  description: plain('d.description'),
  tags: plain('t.tag', 'LEFT JOIN LATERAL unnest(d.tags) AS t (tag) ON true'),
  'group.path': plain('g.path'),
  aggregatedActivityState: plain('s.activity_state'),
  'network.lora.lostMessagesRangeLabel': plain(lostMessagesRange('s.lora_lost_messages_ratio')),
};

/** The interfaces of devices that have the same `kinds`. */
const KINDS = 'json_array_elements(CAST(same.kinds AS json)) AS i (kind)';

const COMPOSITE_FIELDS: Record<string, FieldGrouping> = {
  connectors: {
    ...plain(
      `coalesce(c.connectors, '{}')`,
      `LEFT JOIN (SELECT i.device_id, array_agg(DISTINCT i.connector) AS connectors FROM interfaces i
         WHERE i.tenant_id = $1 GROUP BY i.device_id) c ON c.device_id = d.id`,
    ),
    ofKinds: () => `SELECT coalesce(array_agg(DISTINCT i.kind ->> 0), '{}') AS key, 1 AS count FROM ${KINDS}`,
  },
};

type Json = Record<string, unknown>;

/** Values of a nested filter by the paths of their fields. */
type Filter = Record<string, string | string[]>;

interface Component {
  fields: readonly string[];
  /** What is expected of the value of each field of a nested filter. */
  filters: Readonly<Record<string, 'a string' | 'an array of strings'>>;
  group(field: string, filter: Filter): FieldGrouping;
}

const equal = (column: string, value: string | string[], bind: Statement['bind']): string =>
  Array.isArray(value) ? `${column} = ANY(CAST(${bind(value)} AS text[]))` : `${column} = CAST(${bind(value)} AS text)`;

/** @param columns SQL of each field, and of each field of a filter */
const tableOf =
  (table: string, alias: string, columns: Readonly<Record<string, string>>): Component['group'] =>
  (field, filter) => ({
    kind: 'field',
    of: 'components',
    table,
    alias,
    sql: (bind) => ({
      key: columns[field]!,
      where: Object.entries(filter).map(([name, value]) => equal(columns[name]!, value, bind)),
    }),
  });

/** Places of the fields of interfaces in their kinds. */
const KIND: Readonly<Record<string, string>> = {
  connector: '(i.kind ->> 0)',
  status: '(i.kind ->> 1)',
  'definition.profile': '(i.kind ->> 2)',
};

const tableOfInterfaces = tableOf('interfaces', 'i', {
  connector: 'i.connector',
  status: 'i.status',
  'definition.profile': `(i.definition ->> 'profile')`,
});

const groupInterfaces: Component['group'] = (field, filter) => ({
  ...tableOfInterfaces(field, filter),
  ofKinds: (bind) => {
    const where = Object.entries(filter).map(([name, value]) => equal(KIND[name]!, value, bind));
    return `SELECT ${KIND[field]!} AS key, count(*) AS count FROM ${KINDS} WHERE ${['true', ...where].join(' AND ')} GROUP BY 1`;
  },
});

/** Properties stand in the row of the device: they are counted there, the commonest questions without looking at all of them. */
const groupProperties: Component['group'] = (field, filter) => ({
  kind: 'field',
  of: 'elements',
  sql(bind) {
    const column = field === 'key' ? 'p.k' : 'p.v';
    const { key, value } = filter;
    const ofValue = value === undefined ? [] : [equal('p.v', value, bind)];
    if (key !== undefined) {
      const named = `CAST(${bind(key)} AS text)`;
      return {
        key: column,
        join: `CROSS JOIN LATERAL (SELECT ${named} AS k, d.properties ->> ${named} AS v) p`,
        where: ['p.v IS NOT NULL', ...ofValue],
        count: '1',
        first: 'true',
      };
    }
    // In the list of what is selected such functions are three times as fast as in a join. The series ends after its
    // first row, as null from then on; without properties it is alone.
    if (field === 'key' && value === undefined)
      return {
        key: 'jsonb_object_keys(d.properties)',
        having: 'key IS NOT NULL',
        count: '1',
        first: 'generate_series(1, 1) IS NOT NULL',
      };
    return {
      key: 'e.key',
      join: `CROSS JOIN LATERAL (
        SELECT ${column} AS key, count(*) AS count, row_number() OVER () = 1 AS first
        FROM jsonb_each_text(d.properties) AS p (k, v) WHERE ${ofValue[0] ?? 'true'} GROUP BY 1) e`,
      count: 'e.count',
      first: 'e.first',
    };
  },
});

const COMPONENTS: Record<string, Component> = {
  interfaces: {
    fields: ['connector', 'status', 'definition.profile'],
    filters: { connector: 'a string', status: 'a string', 'definition.profile': 'a string' },
    group: groupInterfaces,
  },
  activityStates: {
    fields: ['state', 'rule.id'],
    filters: { states: 'an array of strings', 'rule.id': 'a string' },
    group: tableOf('activities', 'a', { state: 'a.state', states: 'a.state', 'rule.id': 'a.rule_id' }),
  },
  properties: {
    fields: ['key', 'value'],
    filters: { key: 'a string', value: 'a string' },
    group: groupProperties,
  },
};

const CRITERIA = ['field', 'compositeField', ...Object.keys(COMPONENTS), 'location'];

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function object(value: unknown, path: string): Json {
  if (!isObject(value)) throw invalidParameter(path, 'an object');
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined && member !== null));
}

function oneOf<Value>(table: Record<string, Value>, name: unknown, path: string): Value {
  if (typeof name !== 'string' || !Object.hasOwn(table, name))
    throw invalidParameter(path, `one of ${Object.keys(table).join(', ')}`);
  return table[name]!;
}

function onlyThese(given: Json, names: readonly string[], path: string): void {
  for (const name of Object.keys(given))
    if (!names.includes(name)) throw invalidParameter(`${path}.${name.slice(0, 64)}`, `one of ${names.join(', ')}`);
}

/**
 * Reads a groupBy (manual 9.3.4): at most two levels, a position at the first one only.
 * @throws ApiError 400 that names what is wrong
 */
export function parseGroupBy(given: unknown, path = 'groupBy', level = 1): FieldGrouping | GeoGrouping {
  if (level > 2) throw invalidParameter(path, 'at most two levels');
  const groupBy = object(given, path);
  const [criterion, another] = Object.keys(groupBy).filter((name) => name !== 'groupBy');
  if (criterion === undefined || another !== undefined || !CRITERIA.includes(criterion))
    throw invalidParameter(path, `exactly one of ${CRITERIA.join(', ')}`);
  const at = `${path}.${criterion}`;
  if (criterion === 'field' || criterion === 'compositeField') {
    const fields = criterion === 'field' ? FIELDS : COMPOSITE_FIELDS;
    return { ...oneOf(fields, groupBy[criterion], at), ...inner(groupBy, path, level) };
  }
  if ('groupBy' in groupBy) throw invalidParameter(`${path}.groupBy`, `its place inside ${criterion}`);
  const inside = object(groupBy[criterion], at);
  if (criterion !== 'location')
    return { ...component(COMPONENTS[criterion]!, inside, at), ...inner(inside, at, level) };
  if (level > 1) throw invalidParameter(at, 'no location: it groups at the first level only');
  onlyThese(inside, ['precision', 'groupBy'], at);
  const precision = inside['precision'] ?? DEFAULT_PRECISION;
  if (!Number.isInteger(precision) || (precision as number) < 1 || (precision as number) > 12)
    throw invalidParameter(`${at}.precision`, 'a whole number from 1 to 12');
  return { kind: 'geo', precision: precision as number, ...inner(inside, at, level) };
}

const inner = (around: Json, path: string, level: number): { inner?: FieldGrouping } =>
  'groupBy' in around ? { inner: parseGroupBy(around['groupBy'], `${path}.groupBy`, level + 1) as FieldGrouping } : {};

function component({ fields, filters, group }: Component, inside: Json, path: string): FieldGrouping {
  const { filter = {}, groupBy: _groupBy, ...rest } = inside;
  const field = fieldName(rest, fields, path);
  return group(field, nestedFilter(object(filter, `${path}.filter`), filters, `${path}.filter`));
}

/** Fields of `{"rule": {"id": x}}` or `{"rule.id": x}`. */
function nestedFilter(given: Json, filters: Component['filters'], path: string): Filter {
  const filter: Filter = {};
  for (const [name, value] of Object.entries(given)) {
    const members: Array<[string, unknown]> =
      isObject(value) && !Object.hasOwn(filters, name)
        ? Object.entries(value).map(([member, each]) => [`${name}.${member}`, each])
        : [[name, value]];
    for (const [member, each] of members) {
      const expected = oneOf(filters, member, path);
      const texts = expected === 'a string' ? [each] : each;
      if (!Array.isArray(texts) || !texts.every((text) => isText(text, 0, 4096)))
        throw invalidParameter(`${path}.${member}`, expected);
      filter[member] = each as string | string[];
    }
  }
  return filter;
}

/** `{"field": "rule.id"}` and `{"rule": {"field": "id"}}` mean the same. */
function fieldName(rest: Json, fields: readonly string[], path: string): string {
  const [only, another] = Object.keys(rest);
  let name: unknown;
  if (only === 'field') name = rest['field'];
  else if (only !== undefined) {
    const at = `${path}.${only.slice(0, 64)}`;
    const within = object(rest[only], at);
    onlyThese(within, ['field'], at);
    name = `${only}.${String(within['field'])}`;
  }
  if (another !== undefined || typeof name !== 'string' || !fields.includes(name))
    throw invalidParameter(`${path}.field`, `one of ${fields.join(', ')}`);
  return name;
}
