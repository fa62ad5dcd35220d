import { CORNERS } from '../data.js';
import { aggregate, type Case, filter } from './case.js';

const of = (name: string, query: Record<string, unknown>, total: number): Case => filter(name, query, total, CORNERS);
const buckets = (
  name: string,
  aggregation: Record<string, unknown>,
  expected: Record<string, unknown>,
  query?: Record<string, unknown>,
): Case => ({ ...aggregate(name, aggregation, expected, query), tenant: CORNERS });

const all = { match_all: {} };
const none = { match_none: {} };
const month = { date_histogram: { field: 'timestamp', calendar_interval: 'month', min_doc_count: 1 } };
const near = { range: { timestamp: { gte: '2026-01-01', lt: '2027-01-01' } } };
const parts = { filters: { z: none, a: all, m: { term: { '@corner.value.flag': true } } } };
const square = [
  { lat: -1, lon: -1 },
  { lat: 1, lon: -1 },
  { lat: 1, lon: 1 },
  { lat: -1, lon: 1 },
];
const wide = square.map(({ lat, lon }) => ({ lat: 2 * lat, lon: 2 * lon }));

/** What random searches have once found the two engines, or these and Elasticsearch itself, to answer differently. */
export const cornerCases: Case[] = [
  of('bool without a query has no minimum', { bool: { minimum_should_match: 9 } }, 5),
  of('bool with must_not alone has no minimum', { bool: { must_not: none, minimum_should_match: 2 } }, 5),
  of('bool with must has a minimum of what is not there', { bool: { must: all, minimum_should_match: 1 } }, 0),
  of('bool with should alone needs one of them', { bool: { should: none, minimum_should_match: 0 } }, 0),
  of('bool beside must needs none of them', { bool: { must: all, should: none, minimum_should_match: 0 } }, 5),
  of('bool minimum less than none', { bool: { should: [none], minimum_should_match: -3 } }, 0),
  of('bool minimum but a part of one', { bool: { should: [all, none], minimum_should_match: '-30%' } }, 0),
  of('range to a month is to the end of its first day', { range: { timestamp: { gte: '2026', lte: '2026-02' } } }, 0),
  of('range after a year is after its first day', { range: { timestamp: { gt: '2026', lt: '2027' } } }, 3),
  of('date with empty math is not rounded', { term: { timestamp: '2026-02-28||' } }, 0),
  of('date beyond the last', { range: { timestamp: { gte: '2027', lt: '9999-12-31||+1y' } } }, 1),
  of('date after the last', { range: { timestamp: { gte: '9999-12-31||+1y' } } }, 0),
  of('words of an I with a dot', { match: { '@corner.value.word': 'istanbul' } }, 1),
  of('words with an I with a dot', { match: { '@corner.value.word': 'İSTANBUL' } }, 1),
  of('words of an i without a dot are no others', { match: { '@corner.value.word': 'ısı' } }, 1),
  of('words that end with a sigma', { match: { '@corner.value.word': 'οδοσ' } }, 1),
  of('wildcard of nothing', { wildcard: { '@corner.value.word': '' } }, 0),
  of('prefix of nothing', { prefix: { '@corner.value.word': '' } }, 3),
  of('term of nothing', { term: { '@corner.value.word': '' } }, 1),
  of('exists of a part of a name with dots', { exists: { field: 'extra.dot' } }, 1),
  of('exists of the model', { exists: { field: '@corner' } }, 3),
  of(
    'geo_polygon that goes twice around is not inside twice',
    { geo_polygon: { 'location.@geopoint': { points: [...wide, wide[0], ...square, square[0]] } } },
    0,
  ),
  of(
    'geo_bounding_box of geohashes: their outer corners',
    { geo_bounding_box: { 'location.@geopoint': { top_left: 's', bottom_right: 'k' } } },
    1,
  ),
  of(
    'geo_distance of a geohash: its lower left corner',
    { geo_distance: { distance: '1m', 'location.@geopoint': 's' } },
    1,
  ),
  buckets(
    'geohashes of points at edges',
    { geohash_grid: { field: 'location.@geopoint', precision: 12 } },
    { buckets: [{ key: 'bpbpbpbpbpbp' }, { key: 'zbpbpbpbpbpb' }, { key: 's00000000000' }] },
  ),
  buckets(
    'stats of booleans',
    { stats: { field: '@corner.value.flag' } },
    { count: 2, min: 0, max: 1, avg: 0.5, sum: 1 },
  ),
  buckets('max of booleans with a default', { max: { field: '@corner.value.flag', missing: true } }, { value: 1 }),
  ...['terms', 'cardinality', 'value_count'].flatMap((kind) =>
    (
      [
        ['flag', true],
        ['word', 'x'],
        ['n', -1],
      ] as const
    ).map(([field, missing]) =>
      buckets(
        `${kind} of ${field} with a default, where a month does not have it`,
        { [kind]: { field: `@corner.value.${field}`, missing } },
        {},
      ),
    ),
  ),
  buckets(
    'histogram with a default, where a month does not have its field',
    { histogram: { field: '@corner.value.half', interval: 1, missing: 3 } },
    { buckets: [{ key: 0, doc_count: 1 }, { doc_count: 0 }, { doc_count: 0 }, { key: 3, doc_count: 4 }] },
  ),
  buckets('value_count of a text that is there twice', { value_count: { field: '@corner.value.twice' } }, { value: 2 }),
  buckets(
    'value_count of a number that is there twice',
    { value_count: { field: '@corner.value.same' } },
    { value: 2 },
  ),
  buckets('extended_stats of dates', { extended_stats: { field: 'created' } }, { count: 5 }),
  buckets(
    'min of a field that a month does not have, in buckets',
    { ...month, aggs: { m: { min: { field: '@corner.value.half' } }, n: { max: { field: '@corner.value.half' } } } },
    { buckets: [{ doc_count: 1 }, { doc_count: 2, m: { value: null }, n: { value: null } }] },
    near,
  ),
  buckets(
    'order by a max that some lack',
    {
      terms: { field: 'model', order: { m: 'asc' } },
      aggs: { m: { max: { field: '@corner.value.n' } } },
    },
    { buckets: [{ key: 'plain1' }, { key: 'plain2' }, { key: 'corner', m: { value: 1e17 + 64 } }] },
  ),
  buckets(
    'order by the number of a filter',
    {
      terms: { field: 'model', order: { 'w>_count': 'asc' } },
      aggs: { w: { filter: { exists: { field: 'extra' } } } },
    },
    { buckets: [{ key: 'plain1' }, { key: 'plain2' }, { key: 'corner', w: { doc_count: 1 } }] },
  ),
  buckets(
    'geo_bounds in a bucket without documents',
    { filters: { filters: [none, all] }, aggs: { b: { geo_bounds: { field: 'location.@geopoint' } } } },
    {
      buckets: [
        { doc_count: 0, b: {} },
        { doc_count: 5, b: { bounds: { bottom_right: { lat: 0 } } } },
      ],
    },
  ),
  buckets(
    'histogram of dates prints them',
    { histogram: { field: 'created', interval: 86_400_000, keyed: true, min_doc_count: 1 } },
    { buckets: { '2026-04-02T00:00:00.000Z': { key_as_string: '2026-04-02T00:00:00.000Z', doc_count: 3 } } },
  ),
  buckets(
    'range with names, with an aggregation of the name key',
    {
      range: { field: '@corner.value.n', keyed: true, ranges: [{ to: 2 }] },
      aggs: { key: { value_count: { field: 'id' } } },
    },
    { buckets: { '*-2.0': { to: 2, doc_count: 1, key: { value: 1 } } } },
  ),
  buckets(
    'ranges in the order of their keys',
    {
      range: { field: '@corner.value.n', ranges: [{ from: 0 }, { to: 10 }, { from: -10 }] },
      aggs: { s: { bucket_sort: { sort: [{ _key: { order: 'desc' } }] } } },
    },
    { buckets: [{ key: '0.0-*' }, { key: '-10.0-*' }, { key: '*-10.0' }] },
  ),
  buckets(
    'filters with names come in the order of these',
    { filters: parts, aggs: { s: { bucket_sort: { from: 1, size: 1 } } } },
    { buckets: { m: { doc_count: 1 } } },
  ),
  buckets(
    'bucket_sort by the number of a filter leaves out empty buckets',
    {
      filters: parts,
      aggs: { w: { filter: all }, s: { bucket_sort: { sort: [{ 'w>_count': { order: 'desc' } }] } } },
    },
    { buckets: { a: { w: { doc_count: 5 } }, m: { w: { doc_count: 1 } } } },
  ),
  buckets(
    'bucket_sort by a number in a filter that matches nothing',
    {
      filters: { filters: [all] },
      aggs: {
        w: { filter: none, aggs: { c: { value_count: { field: 'id' } } } },
        s: { bucket_sort: { sort: [{ 'w>c': { order: 'desc' } }] } },
      },
    },
    { buckets: [{ doc_count: 5, w: { c: { value: 0 } } }] },
  ),
  buckets(
    'date_range of a field that nobody has',
    { date_range: { field: 'nosuch', ranges: [{ to: '2026-10-26T18:30:00.000Z' }] } },
    { buckets: [{ key: '*-2026-10-26T18:30:00.000Z', doc_count: 0 }] },
  ),
  buckets(
    'terms with a default of a field that nobody has',
    { terms: { field: 'nosuch', missing: 1 } },
    { buckets: [{ key: '1' }] },
  ),
  buckets(
    'dates in seconds have a fraction',
    { max: { field: 'timestamp', format: 'epoch_second' } },
    { value_as_string: '1772236800.999' },
    {
      range: { timestamp: { gte: '2026-02-01', lt: '2026-03-01' } },
    },
  ),
  buckets(
    'dates of a named format in a time zone',
    { date_histogram: { field: 'timestamp', calendar_interval: 'day', time_zone: '+02:00', format: 'basic_date' } },
    { buckets: [{ key_as_string: '20260228', key: Date.parse('2026-02-27T22:00:00.000Z') }] },
    { range: { timestamp: { gte: '2026-02-01', lt: '2026-03-01' } } },
  ),
  buckets(
    'dates from before there were time zones',
    { date_histogram: { field: 'timestamp', calendar_interval: 'day', time_zone: 'Europe/Paris' } },
    { buckets: [{ key_as_string: '1900-02-28T00:00:00.000+00:09' }] },
    { range: { timestamp: { lt: '1901-01-01' } } },
  ),
  buckets(
    'date_histogram of hours where clocks change by half of one',
    {
      date_histogram: {
        field: 'timestamp',
        fixed_interval: '1h',
        time_zone: 'Australia/Lord_Howe',
        extended_bounds: { min: '2026-10-04T00:00', max: '2026-10-04T05:00' },
      },
    },
    {
      buckets: [
        '00:00:00.000+10:30',
        '01:00:00.000+10:30',
        '02:30:00.000+11:00',
        '03:00:00.000+11:00',
        '04:00:00.000+11:00',
        '05:00:00.000+11:00',
      ].map((time) => ({ key_as_string: `2026-10-04T${time}` })),
    },
    none,
  ),
  buckets(
    'date_histogram with bounds and an offset',
    {
      date_histogram: {
        field: 'timestamp',
        calendar_interval: 'day',
        offset: '+36h',
        extended_bounds: { min: '1970-01-01T01:59', max: '1970-01-01T07:00' },
      },
    },
    { buckets: [{ key: 129_600_000, doc_count: 0 }] },
    none,
  ),
  buckets(
    'top_hits of the last bucket that dates have',
    {
      date_histogram: { field: 'timestamp', fixed_interval: '30d', min_doc_count: 1 },
      aggs: { h: { top_hits: { size: 1, _source: 'streamId' } } },
    },
    { buckets: [{ h: { hits: { total: 1, hits: [{ _source: { streamId: 'corner' } }] } } }] },
    { range: { timestamp: { gte: '9999' } } },
  ),
  buckets(
    'histogram with an offset of several intervals',
    { histogram: { field: '@corner.value.half', interval: 0.1, offset: 25, keyed: true } },
    {},
  ),
];
