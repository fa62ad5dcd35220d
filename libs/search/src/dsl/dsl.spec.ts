import { ApiError } from '@orrery/core/http';
import { MESSAGE_FIELDS, parseSearch, type SearchRequest } from './index.js';

const NOW = Date.parse('2026-03-10T12:34:56.789Z');
const TYPES: Record<string, 'number' | 'boolean' | 'string'> = {
  '@m.value.temp': 'number',
  '@m.value.gpsFix': 'boolean',
  '@m.value.state': 'string',
};
const parse = (body: unknown, version: 'v0' | 'v1' = 'v1'): SearchRequest =>
  parseSearch(
    body,
    version,
    (field) => MESSAGE_FIELDS[field] ?? (Object.hasOwn(TYPES, field) ? TYPES[field] : undefined),
    NOW,
  );

/** Where a body is refused, or what it gives. */
function refusal(body: unknown, version: 'v0' | 'v1' = 'v1'): string {
  try {
    parse(body, version);
    return 'accepted';
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    expect(error.status).toBe(400);
    const [{ field, expected }] = error.details as [{ field: string; expected: string }];
    expect(expected.length).toBeGreaterThan(3);
    return field;
  }
}

const nested = (levels: number, inner: unknown): unknown => {
  let query = inner;
  for (let i = 0; i < levels; i++) query = { bool: { must: [query] } };
  return query;
};
const agg = (body: unknown): unknown => ({ aggs: { a: body } });
const query = (body: unknown): unknown => ({ query: body });

describe('the DSL of searches', () => {
  it.each<[string, unknown]>([
    ['body', []],
    ['body.suggest', { suggest: {} }],
    ['body.script_fields', { script_fields: {} }],
    ['body.runtime_mappings', { runtime_mappings: {} }],
    ['body.indices_boost', { indices_boost: [] }],
    ['query', query({})],
    ['query', query({ term: { id: 'a' }, match_all: {} })],
    ['query', query(null)],
    ['query.nosuch', query({ nosuch: {} })],
    ['query.constructor', query({ constructor: {} })],
    ['query.bool.must[1].nosuch', query({ bool: { must: [{ match_all: {} }, { nosuch: {} }] } })],
    ['query.in', query({ in: { tags: ['a'] } })],
    ['query.geo_distance_range', query({ geo_distance_range: {} })],
    ['query.query_string.all_fields', query({ query_string: { query: 'a', all_fields: true } })],
    ['query.simple_query_string', query({ simple_query_string: { query: 'a', all_fields: true } })],
    ['query.prefix.streamId.prefix', query({ prefix: { streamId: { prefix: 'd' } } })],
    ['query.range.timestamp.ge', query({ range: { timestamp: { ge: 'now-1d' } } })],
    ['query.range.timestamp.le', query({ range: { timestamp: { le: 'now-1d' } } })],
    ['query.filtered', query({ filtered: { query: { match_all: {} } } })],
    ['query.script', query({ script: { script: 'true' } })],
    ['query.indices', query({ indices: {} })],
    ['query.regexp', query({ regexp: { streamId: '(a+)+$' } })],
    ['query.range.timestamp.gte', query({ range: { timestamp: { gte: 'yesterday' } } })],
    ['query.range.timestamp.gte', query({ range: { timestamp: { gte: '2026-13-01' } } })],
    ['query.range.timestamp.gte', query({ range: { timestamp: { gte: '2026-02-30' } } })],
    ['query.range.timestamp.lt', query({ range: { timestamp: { lt: 'now-1x' } } })],
    ['query.range.timestamp.lt', query({ range: { timestamp: { lt: 'now+999999999y' } } })],
    ['query.range.timestamp.time_zone', query({ range: { timestamp: { lt: 'now', time_zone: 'Mars/Olympus' } } })],
    ['query.range.timestamp.format', query({ range: { timestamp: { lt: '1', format: 'eeee' } } })],
    ['query.range.@m.value.temp.gte', query({ range: { '@m.value.temp': { gte: 'hot' } } })],
    ['query.term.@m.value.temp.value', query({ term: { '@m.value.temp': 'hot' } })],
    ['query.term.@m.value.gpsFix.value', query({ term: { '@m.value.gpsFix': 1 } })],
    ['query.terms.tags', query({ terms: { tags: 'a' } })],
    ['query.terms.tags[0]', query({ terms: { tags: [{}] } })],
    ['query.terms.tags', query({ terms: { tags: { index: 'other', id: '1', path: 'x' } } })],
    ['query.term.streamId.value', query({ term: { streamId: 'a\u0000' } })],
    ['query.term.streamId.value', query({ term: { streamId: '\ud800' } })],
    ['query.wildcard.streamId.value', query({ wildcard: { streamId: 'a*'.repeat(21) } })],
    ['query.wildcard.streamId.value', query({ wildcard: { streamId: 'a'.repeat(1001) } })],
    ['query.prefix.@m.value.temp', query({ prefix: { '@m.value.temp': '2' } })],
    ['query.geo_distance.distance', query({ geo_distance: { distance: '10 parsecs', 'location.@geopoint': [1, 2] } })],
    ['query.geo_distance.distance', query({ geo_distance: { distance: '0km', 'location.@geopoint': [1, 2] } })],
    ['query.geo_distance.location.@geopoint', query({ geo_distance: { distance: '1km', 'location.@geopoint': 5 } })],
    ['query.term._id', query({ term: { _id: '57308b3b7d84805820b35345' } })],
    ['query.exists.field', query({ exists: { field: '_source' } })],
    ['query.query_string.query', query({ query_string: { query: '_index:other' } })],
    ['aggs.a.terms.field', agg({ terms: { field: '_index' } })],
    ['sort._geo_distance', { sort: { _geo_distance: { 'location.@geopoint': [1, 2], order: 'asc' } } }],
    ['query.geo_distance.location', query({ geo_distance: { distance: '1km', location: [1, 2] } })],
    [
      'query.geo_distance.location.@geopoint',
      query({ geo_distance: { distance: '1km', 'location.@geopoint': { lat: 91, lon: 0 } } }),
    ],
    [
      'query.geo_polygon.location.@geopoint.points',
      query({ geo_polygon: { 'location.@geopoint': { points: [[0, 0]] } } }),
    ],
    ['query.query_string.query', query({ query_string: { query: 'a AND (b' } })],
    ['query.query_string.query', query({ query_string: { query: 'word~2' } })],
    ['query.query_string.query', query({ query_string: { query: '/(a+)+/' } })],
    ['query.query_string.query', query({ query_string: { query: '('.repeat(1000) + 'a' } })],
    ['query.range.timestamp.format', query({ range: { timestamp: { lt: '1', format: 'constructor' } } })],
    [
      'query.geo_distance.distance',
      query({ geo_distance: { distance: 1, unit: { toString: 1 }, 'location.@geopoint': [1, 2] } }),
    ],
    [
      'query.geo_distance.distance',
      query({ geo_distance: { distance: '1constructor', 'location.@geopoint': [1, 2] } }),
    ],
    ['query.exists.field', query({ exists: { field: 'a\u0000' } })],
    ['aggs.__proto__', JSON.parse('{"aggs":{"__proto__":{"avg":{"field":"a"}}}}')],
    ['size', { size: 1_000_000 }],
    ['size', { size: -1 }],
    ['size', { size: '5;' }],
    ['from', { from: -1 }],
    ['from', { from: 9995, size: 10 }],
    ['sort[0].location.@geopoint', { sort: [{ 'location.@geopoint': 'asc' }] }],
    ['sort._script', { sort: { _script: {} } }],
    ['sort[0].timestamp.order', { sort: [{ timestamp: 'up' }] }],
    ['search_after', { search_after: [1] }],
    ['search_after[0]', { sort: ['timestamp'], search_after: ['x'] }],
    ['search_after[0]', { sort: ['timestamp'], search_after: ['5 January 2020'] }],
    ['_source.includes[0]', { _source: { includes: ['*a*a*a*a*a*a*a'] } }],
    ['aggs.a', agg({})],
    ['aggs.a.nosuch', agg({ nosuch: {} })],
    ['aggs.a.global', agg({ global: {} })],
    ['aggs.a.scripted_metric', agg({ scripted_metric: {} })],
    ['aggs.a.significant_terms', agg({ significant_terms: { field: 'tags' } })],
    ['aggs.a.terms.script', agg({ terms: { script: 'doc.x' } })],
    ['aggs.a.terms.size', agg({ terms: { field: 'tags', size: 65_537 } })],
    ['aggs.a.terms.size', agg({ terms: { field: 'tags', size: 0 } })],
    ['aggs.a.terms.include', agg({ terms: { field: 'tags', include: '(a+)+' } })],
    ['aggs.a.terms.order', agg({ terms: { field: 'tags', order: { nosuch: 'asc' } } })],
    ['aggs.a.avg.field', agg({ avg: { field: 'streamId' } })],
    ['aggs.a.avg.field', agg({ avg: {} })],
    ['aggs.a.aggs', agg({ avg: { field: '@m.value.temp' }, aggs: {} })],
    ['aggs.a.histogram.interval', agg({ histogram: { field: '@m.value.temp', interval: 0 } })],
    [
      'aggs.a.histogram.extended_bounds',
      agg({ histogram: { field: '@m.value.temp', interval: 1, extended_bounds: { min: 0, max: 1e9 } } }),
    ],
    ['aggs.a.date_histogram', agg({ date_histogram: { field: 'timestamp' } })],
    [
      'aggs.a.date_histogram.calendar_interval',
      agg({ date_histogram: { field: 'timestamp', calendar_interval: '2d' } }),
    ],
    ['aggs.a.date_histogram.fixed_interval', agg({ date_histogram: { field: 'timestamp', fixed_interval: '1M' } })],
    ['aggs.a.bucket_selector', agg({ bucket_selector: { buckets_path: { a: 'b' }, script: 'a>1' } })],
    ['aggs.a.filter.nosuch', agg({ filter: { nosuch: {} } })],
    ['aggs.a.percentiles.percents[0]', agg({ percentiles: { field: '@m.value.temp', percents: [101] } })],
  ])('refuses at %s', (where, body) => expect(refusal(body)).toBe(where));

  it('names the places of a script that it cannot read', () => {
    const selector = (script: unknown): unknown =>
      agg({
        terms: { field: 'streamId' },
        aggs: { m: { max: { field: 'timestamp' } }, s: { bucket_selector: { buckets_path: { m: 'm' }, script } } },
      });
    for (const source of [
      'm.getClass()',
      'System.exit(1)',
      'm = 1',
      'other > 1',
      'm >',
      '(m',
      'm; 1',
      '"a"',
      'm[0]',
      'constructor',
      '('.repeat(200),
    ])
      expect(refusal(selector({ source, lang: 'expression' }))).toBe('aggs.a.aggs.s.bucket_selector.script.source');
    expect(refusal(selector({ inline: 'm', lang: 'groovy' }))).toBe('aggs.a.aggs.s.bucket_selector.script.lang');
    expect(refusal(selector('params.m > 1 && !(m * 2 <= -3.5e1)'))).toBe('accepted');
    expect(
      refusal(
        agg({
          terms: { field: 'streamId' },
          aggs: { s: { bucket_selector: { buckets_path: { m: 'nosuch' }, script: 'm>1' } } },
        }),
      ),
    ).toBe('aggs.a.aggs.s');
  });

  it('refuses a thousand nested bools, too many clauses and too much text, in time', () => {
    const started = process.cpuUsage();
    expect(refusal({ query: nested(1000, { match_all: {} }) })).toMatch(/^query\.bool\.must|^$|^query/);
    expect(refusal({ query: { bool: { should: Array.from({ length: 1100 }, () => ({ match_all: {} })) } } })).toMatch(
      /^query\.bool\.should\[/,
    );
    expect(refusal({ query: { terms: { tags: Array.from({ length: 60_000 }, (_, i) => `t${i}`) } } })).toBe('body');
    expect(refusal({ query: { term: { tags: 'x'.repeat(1_000_000) } } })).toBe('body');
    expect(refusal({ query: nested(100_000, { match_all: {} }) })).not.toBe('accepted');
    let deep: unknown = { terms: { field: 'tags' } };
    for (let i = 0; i < 60; i++) deep = { terms: { field: 'tags' }, aggs: { a: deep } };
    expect(refusal(agg(deep))).not.toBe('accepted');
    expect(process.cpuUsage(started).user).toBeLessThan(5_000_000);
  });

  it('takes names of what every object has for names of fields', () => {
    for (const name of ['constructor', 'toString', 'hasOwnProperty'])
      expect(parse({ query: { exists: { field: name } } }).query).toEqual({
        kind: 'exists',
        field: { name, type: undefined },
      });
  });

  it('accepts what replaces the removed operators', () => {
    for (const body of [
      query({ terms: { tags: ['a'] } }),
      query({ prefix: { streamId: { value: 'd' } } }),
      query({ query_string: { query: 'a', default_field: '*' } }),
      query({ range: { timestamp: { gte: 'now-1d', lte: 'now' } } }),
      query({ match_all: {} }),
    ])
      expect(refusal(body)).toBe('accepted');
    expect(refusal(query({ filtered: { filter: { term: { id: 'a' } } } }), 'v0')).toBe('accepted');
  });

  it('reads dates and their math to the millisecond', () => {
    const range = (bounds: Record<string, unknown>): unknown => {
      const { query: read } = parse(query({ range: { timestamp: bounds } }));
      const found = read.kind === 'range' ? read.bounds : {};
      return Object.fromEntries(Object.entries(found).map(([key, at]) => [key, new Date(at as number).toISOString()]));
    };
    expect(range({ gte: '2017-07-27', lt: '2017-07-28' })).toEqual({
      gte: '2017-07-27T00:00:00.000Z',
      lt: '2017-07-28T00:00:00.000Z',
    });
    expect(range({ gt: '2017-07-27', lte: '2017-07' })).toEqual({
      gt: '2017-07-27T23:59:59.999Z',
      lte: '2017-07-01T23:59:59.999Z',
    });
    expect(range({ gte: 'now-1d/d', lt: 'now/h' })).toEqual({
      gte: '2026-03-09T00:00:00.000Z',
      lt: '2026-03-10T12:00:00.000Z',
    });
    expect(range({ gt: '2024-01-31||+1M/d', lte: 'now/w' })).toEqual({
      gt: '2024-02-29T23:59:59.999Z',
      lte: '2026-03-15T23:59:59.999Z',
    });
    expect(range({ gte: '2026-03-29', lt: '2026-03-29||+1d', time_zone: 'Europe/Paris' })).toEqual({
      gte: '2026-03-28T23:00:00.000Z',
      lt: '2026-03-29T22:00:00.000Z',
    });
    expect(range({ gte: 1490263200000, lt: '1490263200001' })).toEqual({
      gte: '2017-03-23T10:00:00.000Z',
      lt: '2017-03-23T10:00:00.001Z',
    });
    expect(range({ gte: '27/07/2017', lte: '27/07/2017', format: 'dd/MM/yyyy' })).toEqual({
      gte: '2017-07-27T00:00:00.000Z',
      lte: '2017-07-27T23:59:59.999Z',
    });
    expect(range({ gte: '2017-07-27T10:15:30.12+02:00' })).toEqual({ gte: '2017-07-27T08:15:30.120Z' });
  });

  it('refuses what Elasticsearch can not answer', () => {
    const terms = (field: string, own: unknown): unknown => agg({ terms: { field }, aggs: { own } });
    const selector = { bucket_selector: { buckets_path: { v: '_key' }, script: 'v > 1' } };
    expect(refusal(terms('@m.value.temp', selector))).toBe('accepted');
    expect(refusal(terms('@m.value.state', selector))).toBe('aggs.a.aggs.own');
    expect(refusal(terms('@m.value.state', { bucket_sort: { sort: ['_key'] } }))).toBe('accepted');
    expect(refusal(terms('@m.value.state', { bucket_sort: {} }))).toBe('aggs.a.aggs.own.bucket_sort');
    const grid = { geohash_grid: { field: 'location.@geopoint' }, aggs: { own: { bucket_sort: { sort: ['_key'] } } } };
    expect(refusal(agg(grid))).toBe('aggs.a.aggs.own');
    const box = (right: number, bottom: number): unknown =>
      query({ geo_bounding_box: { 'location.@geopoint': { top: 1, left: 1, bottom, right } } });
    expect(refusal(box(2, 0))).toBe('accepted');
    for (const line of [box(1, 0), box(2, 1)]) expect(refusal(line)).toBe('query.geo_bounding_box.location.@geopoint');
    expect(refusal(agg({ max: { field: '@m.value.gpsFix', missing: 2 } }))).toBe('aggs.a.max.missing');
  });

  it('reads at most 100 aggregations', () => {
    const many = (number: number): unknown => ({
      aggs: Object.fromEntries(
        Array.from({ length: number }, (_, i) => [`a${i}`, { avg: { field: '@m.value.temp' } }]),
      ),
    });
    expect(refusal(many(100))).toBe('accepted');
    expect(refusal(many(101))).toBe('aggs.a100');
  });

  it('reads as many dates as it can in a moment', () => {
    const should = (of: unknown, number: number): unknown => query({ bool: { should: Array(number).fill(of) } });
    const dates = Array.from({ length: 1000 }, (_, i) => `2026-01-01T00:00:00.${String(i).padStart(3, '0')}Z`);
    expect(refusal(should({ terms: { timestamp: dates } }, 1))).toBe('accepted');
    expect(refusal(should({ terms: { timestamp: dates } }, 10))).toBe('query.bool.should[3].terms.timestamp[0]');
    const far = `now${'/w'.repeat(90)}`;
    expect(refusal(should({ range: { timestamp: { gte: far } } }, 1))).toBe('accepted');
    expect(refusal(should({ range: { timestamp: { gte: far } } }, 1000))).toMatch(/^query\.bool\.should\[\d+\]/);
    const format = 'yyyy||'.repeat(50_000);
    expect(refusal(query({ range: { timestamp: { gte: '2026', format: `${format}yyyy` } } }))).toBe(
      'query.range.timestamp.format',
    );
  });
});
