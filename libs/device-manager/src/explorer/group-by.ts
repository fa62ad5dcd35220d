import { invalidParameter } from '@orrery/core/http';
import { isText } from '../text.js';
import { lostMessagesRange } from './filters.js';
import type { Statement } from './statement.js';

/** SQL that is made anew for each statement. */
type Condition = (bind: Statement['bind']) => string;

/** How devices `d`, or components of theirs, are grouped by the values of a field. */
export interface FieldGrouping {
  kind: 'field';
  /** Components are counted beside devices: `i` of interfaces, `a` of activities, `p` of properties. */
  nested: boolean;
  /** SQL of the key; null where it is missing. */
  key: string;
  /** What `d` is joined with beside its state and group, or the table of components that is read without `d`. */
  join?: string;
  components?: { table: string; alias: string };
  conditions: readonly Condition[];
  inner?: FieldGrouping;
}

export interface GeoGrouping {
  kind: 'geo';
  /** Characters of a geohash. */
  precision: number;
  inner?: FieldGrouping;
}

const DEFAULT_PRECISION = 5;

const plain = (key: string, join?: string): FieldGrouping => ({
  kind: 'field',
  nested: false,
  key,
  conditions: [],
  ...(join === undefined ? {} : { join }),
});

const FIELDS: Record<string, FieldGrouping> = {
  description: plain('d.description'),
  tags: plain('t.tag', 'LEFT JOIN LATERAL unnest(d.tags) AS t (tag) ON true'),
  'group.path': plain('g.path'),
  aggregatedActivityState: plain('s.activity_state'),
  'network.lora.lostMessagesRangeLabel': plain(lostMessagesRange('s.lora_lost_messages_ratio')),
};

const COMPOSITE_FIELDS: Record<string, FieldGrouping> = {
  connectors: plain(
    `coalesce(c.connectors, '{}')`,
    `LEFT JOIN (SELECT i.device_id, array_agg(DISTINCT i.connector) AS connectors FROM interfaces i
       WHERE i.tenant_id = $1 GROUP BY i.device_id) c ON c.device_id = d.id`,
  ),
};

type Json = Record<string, unknown>;

interface Component {
  source: Pick<FieldGrouping, 'join' | 'components'>;
  keys: Record<string, string>;
  /** Conditions of a nested filter by their paths. @returns undefined when the value is not what is expected */
  filters: Record<string, { expected: string; condition(value: unknown): Condition | undefined }>;
}

const equals = (column: string) => ({
  expected: 'a string',
  condition: (value: unknown): Condition | undefined =>
    isText(value, 0, 4096) ? (bind) => `${column} = CAST(${bind(value)} AS text)` : undefined,
});

const COMPONENTS: Record<string, Component> = {
  interfaces: {
    source: { components: { table: 'interfaces', alias: 'i' } },
    keys: { connector: 'i.connector', status: 'i.status', 'definition.profile': `i.definition ->> 'profile'` },
    filters: {
      connector: equals('i.connector'),
      status: equals('i.status'),
      'definition.profile': equals(`(i.definition ->> 'profile')`),
    },
  },
  activityStates: {
    source: { components: { table: 'activities', alias: 'a' } },
    keys: { state: 'a.state', 'rule.id': 'a.rule_id' },
    filters: {
      states: {
        expected: 'an array of strings',
        condition: (value) =>
          Array.isArray(value) && value.every((each) => isText(each, 0, 256))
            ? (bind) => `a.state = ANY(CAST(${bind(value)} AS text[]))`
            : undefined,
      },
      'rule.id': equals('a.rule_id'),
    },
  },
  properties: {
    source: { join: 'CROSS JOIN LATERAL jsonb_each_text(d.properties) AS p (k, v)' },
    keys: { key: 'p.k', value: 'p.v' },
    filters: { key: equals('p.k'), value: equals('p.v') },
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

function component({ source, keys, filters }: Component, inside: Json, path: string): FieldGrouping {
  const { filter, groupBy: _groupBy, ...rest } = inside;
  const key = oneOf(keys, fieldName(rest, keys, path), `${path}.field`);
  const conditions =
    filter === undefined ? [] : nestedFilter(object(filter, `${path}.filter`), filters, `${path}.filter`);
  return { kind: 'field', nested: true, ...source, key, conditions };
}

/** Conditions of `{"rule": {"id": x}}` or `{"rule.id": x}`. */
function nestedFilter(filter: Json, filters: Component['filters'], path: string): Condition[] {
  return Object.entries(filter).flatMap(([name, value]) => {
    const members: Array<[string, unknown]> =
      isObject(value) && !Object.hasOwn(filters, name)
        ? Object.entries(value).map(([member, each]) => [`${name}.${member}`, each])
        : [[name, value]];
    return members.map(([member, each]) => {
      const { condition, expected } = oneOf(filters, member, path);
      const made = condition(each);
      if (!made) throw invalidParameter(`${path}.${member}`, expected);
      return made;
    });
  });
}

/** `{"field": "rule.id"}` and `{"rule": {"field": "id"}}` mean the same. */
function fieldName(rest: Json, keys: Record<string, string>, path: string): unknown {
  const [only, another] = Object.keys(rest);
  if (only === undefined || another !== undefined)
    throw invalidParameter(`${path}.field`, `one of ${Object.keys(keys).join(', ')}`);
  if (only === 'field') return rest['field'];
  const at = `${path}.${only.slice(0, 64)}`;
  const within = object(rest[only], at);
  onlyThese(within, ['field'], at);
  return `${only}.${String(within['field'])}`;
}
