import type { Bounds, Field, FieldType, Query } from '../dsl/tree.js';
import type { TenantFields } from '../fields/index.js';
import { ALL_WORDS, indexField, OBJECTS, TENANT, WORDS } from './mapping.js';

export type Clause = Record<string, unknown>;

/** Dates that the index takes. */
const FIRST = -62_135_596_800_000;
const LAST = 253_402_300_799_999;

const NOTHING: Clause = { match_none: {} };

/** A query of Elasticsearch for what was parsed. Only documents of the tenant, whatever it says. */
export const tenantQuery = (tenantId: string, query: Query, fields: TenantFields): Clause => ({
  bool: { filter: [{ term: { [TENANT]: tenantId } }, translateQuery(query, fields)] },
});

export function translateQuery(query: Query, fields: TenantFields): Clause {
  const name = (field: Field): string => indexField(fields, field);
  const all = (queries: Query[]): Clause[] => queries.map((each) => translateQuery(each, fields));
  switch (query.kind) {
    case 'all':
      return { match_all: {} };
    case 'none':
      return NOTHING;
    case 'bool':
      return {
        bool: {
          filter: all(query.must),
          must_not: all(query.mustNot),
          should: all(query.should),
          minimum_should_match: query.least,
        },
      };
    case 'terms':
      return { terms: { [name(query.field)]: query.values } };
    case 'range':
      return { range: { [name(query.field)]: bounds(query.bounds, query.field.type) } };
    case 'words':
      return {
        match: {
          [wordsField(query.field, fields)]: { query: query.words.join(' '), operator: query.all ? 'and' : 'or' },
        },
      };
    case 'phrase':
      return { match_phrase: { [wordsField(query.field, fields)]: query.words.join(' ') } };
    case 'exists':
      return query.field.type === undefined
        ? { term: { [OBJECTS]: query.field.name } }
        : { exists: { field: name(query.field) } };
    case 'prefix':
      return { prefix: { [name(query.field)]: { value: query.value, ...anyCase(query.anyCase) } } };
    case 'wildcard':
      return { wildcard: { [name(query.field)]: { value: query.pattern, ...anyCase(query.anyCase) } } };
    case 'ids':
      return { terms: { id: query.values } };
    case 'geoDistance':
      return {
        geo_distance: { distance: `${query.metres}m`, [name(query.field)]: query.centre, ignore_unmapped: true },
      };
    case 'geoBox': {
      const { top, left, bottom, right } = query;
      return {
        geo_bounding_box: {
          [name(query.field)]: { top_left: { lat: top, lon: left }, bottom_right: { lat: bottom, lon: right } },
          ignore_unmapped: true,
        },
      };
    }
    case 'geoPolygon':
      return { geo_polygon: { [name(query.field)]: { points: query.points }, ignore_unmapped: true } };
  }
}

const wordsField = (field: Field, fields: TenantFields): string =>
  field.name === '*' ? ALL_WORDS : `${indexField(fields, field)}.${WORDS}`;

const anyCase = (wanted: boolean): Clause => (wanted ? { case_insensitive: true } : {});

function bounds(given: Bounds, type: FieldType | undefined): Clause {
  if (type !== 'date') return { ...given };
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => [boundOf(name, Number(value)), isoDate(Number(value))]),
  );
}

/** Beyond the first and the last date, these two are all that is meant, or nothing of it. */
function boundOf(name: string, milliseconds: number): string {
  const least = name.startsWith('g');
  if (milliseconds > LAST) return least ? 'gt' : 'lte';
  if (milliseconds < FIRST) return least ? 'gte' : 'lt';
  return name;
}

/** Milliseconds before 1970 are no dates to some versions, and years of five digits to none. */
export const isoDate = (milliseconds: number): string =>
  new Date(Math.min(Math.max(milliseconds, FIRST), LAST)).toISOString();
