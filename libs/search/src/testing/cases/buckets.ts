import { aggregate, type Case } from './case.js';

const climate = { term: { model: 'climate' } };
const old = { term: { model: 'old' } };
const temp = { field: '@climate.value.temp' };
const keys = (...buckets: Array<[unknown, number]>): Record<string, unknown> => ({
  buckets: buckets.map(([key, count]) => ({ key, doc_count: count })),
});
const lastDate = (script: unknown): Record<string, unknown> => ({
  terms: { field: 'streamId', size: 100 },
  aggs: {
    last_date: { max: { field: 'timestamp' } },
    silent: { bucket_selector: { buckets_path: { lastdate: 'last_date' }, script } },
  },
});

export const bucketCases: Case[] = [
  aggregate('histogram', { histogram: { ...temp, interval: 20 } }, keys([0, 40], [20, 40], [40, 40])),
  aggregate(
    'histogram with gaps',
    { histogram: { field: '@climate.value.readings', interval: 500 } },
    keys([0, 120], [500, 0], [1000, 120]),
  ),
  aggregate(
    'histogram without gaps',
    { histogram: { field: '@climate.value.readings', interval: 500, min_doc_count: 1 } },
    keys([0, 120], [1000, 120]),
  ),
  aggregate(
    'histogram of an array, each document once',
    { histogram: { field: '@climate.value.readings', interval: 10_000 } },
    keys([0, 120]),
  ),
  aggregate('histogram of decimals', { histogram: { ...temp, interval: 0.5, min_doc_count: 1 } }),
  aggregate(
    'histogram with an offset',
    { histogram: { ...temp, interval: 20, offset: 10 } },
    keys([-10, 20], [10, 40], [30, 40], [50, 20]),
  ),
  aggregate(
    'histogram of negative numbers',
    { histogram: { field: '@old.value.n', interval: 5 } },
    keys([-5, 1], [0, 1]),
    { range: { '@old.value.n': { lt: 100 } } },
  ),
  aggregate(
    'histogram with bounds',
    { histogram: { ...temp, interval: 20, extended_bounds: { min: -20, max: 79 } } },
    keys([-20, 0], [0, 40], [20, 40], [40, 40], [60, 0]),
  ),
  aggregate(
    'histogram with bounds of nothing',
    { histogram: { ...temp, interval: 1, extended_bounds: { min: 0, max: 1 } } },
    keys([0, 0], [1, 0]),
    old,
  ),
  aggregate(
    'histogram by keys',
    { histogram: { ...temp, interval: 20, keyed: true } },
    {
      buckets: {
        '0.0': { key: 0, doc_count: 40 },
        '20.0': { key: 20, doc_count: 40 },
        '40.0': { key: 40, doc_count: 40 },
      },
    },
  ),
  aggregate(
    'histogram in reverse',
    { histogram: { ...temp, interval: 20, order: { _key: 'desc' } } },
    keys([40, 40], [20, 40], [0, 40]),
  ),
  aggregate(
    'histogram with a default',
    { histogram: { field: '@climate.value.rare', interval: 50, missing: 200, min_doc_count: 1 } },
    keys([0, 10], [50, 10], [100, 4], [200, 96]),
    climate,
  ),
  aggregate(
    'histogram with a metric',
    { histogram: { ...temp, interval: 30 }, aggs: { l: { avg: { field: '@climate.value.level' } } } },
    {
      buckets: [
        { key: 0, l: { value: 4.5 } },
        { key: 30, l: { value: 4.5 } },
      ],
    },
  ),
  aggregate('histogram of nothing', { histogram: { field: 'nosuch', interval: 5 } }, { buckets: [] }),

  aggregate(
    'range',
    { range: { ...temp, ranges: [{ to: 10 }, { from: 10, to: 50 }, { from: 50 }] } },
    {
      buckets: [
        { key: '*-10.0', to: 10, doc_count: 20 },
        { key: '10.0-50.0', from: 10, to: 50, doc_count: 80 },
        { key: '50.0-*', from: 50, doc_count: 20 },
      ],
    },
  ),
  aggregate(
    'range with keys',
    {
      range: {
        ...temp,
        keyed: true,
        ranges: [
          { key: 'cold', to: 10 },
          { key: 'hot', from: 50 },
        ],
      },
    },
    { buckets: { cold: { to: 10, doc_count: 20 }, hot: { from: 50, doc_count: 20 } } },
  ),
  aggregate(
    'ranges that overlap, out of order',
    { range: { ...temp, ranges: [{ from: 5 }, { from: 0 }, { from: 0, to: 1 }] }, aggs: { m: { max: temp } } },
    {
      buckets: [
        { key: '0.0-1.0', doc_count: 2, m: { value: 0.5 } },
        { key: '0.0-*', doc_count: 120 },
        { key: '5.0-*', doc_count: 110 },
      ],
    },
  ),
  aggregate(
    'range of an array',
    { range: { field: '@climate.value.readings', ranges: [{ to: 500 }, { from: 500 }] } },
    { buckets: [{ doc_count: 120 }, { doc_count: 120 }] },
  ),
  aggregate(
    'range of great numbers',
    { range: { field: '@old.value.n', ranges: [{ from: 10_000_000 }, { from: 0.0001, to: 2.5 }] } },
    {
      buckets: [
        { key: '1.0E-4-2.5', doc_count: 1 },
        { key: '1.0E7-*', doc_count: 0 },
      ],
    },
  ),
  aggregate(
    'filter',
    { filter: { term: { tags: 'indoor' } }, aggs: { t: { avg: temp } } },
    { doc_count: 30, t: { value: 29 } },
  ),
  aggregate(
    'filter of nothing',
    { filter: { match_none: {} }, aggs: { t: { stats: temp }, s: { terms: { field: 'tags' } } } },
    { doc_count: 0, t: { count: 0 }, s: { buckets: [] } },
  ),
  aggregate(
    'filters',
    { filters: { filters: { in: { term: { tags: 'indoor' } }, out: { term: { tags: 'outdoor' } } } } },
    { buckets: { in: { doc_count: 30 }, out: { doc_count: 60 } } },
  ),
  aggregate(
    'filters with the rest',
    {
      filters: {
        other_bucket_key: 'rest',
        filters: { in: { term: { tags: 'indoor' } }, out: { term: { tags: 'outdoor' } } },
      },
      aggs: { n: { value_count: { field: 'id' } } },
    },
    { buckets: { in: { doc_count: 30 }, out: { doc_count: 60 }, rest: { doc_count: 74, n: { value: 74 } } } },
  ),
  aggregate(
    'filters without names',
    { filters: { other_bucket: true, filters: [{ term: { tags: 'indoor' } }, { term: { tags: 'paris' } }] } },
    { buckets: [{ doc_count: 30 }, { doc_count: 30 }, { doc_count: 134 }] },
  ),
  aggregate(
    'missing',
    { missing: { field: '@climate.value.rare' }, aggs: { n: { terms: { field: 'model', size: 1 } } } },
    { doc_count: 140, n: { buckets: [{ key: 'climate', doc_count: 96 }] } },
  ),
  aggregate('missing tags', { missing: { field: 'tags' } }, { doc_count: 41 }),

  aggregate(
    'top_hits',
    {
      terms: { field: 'streamId', size: 2 },
      aggs: { last: { top_hits: { size: 1, sort: [{ timestamp: { order: 'desc' } }], _source: ['value.temp'] } } },
    },
    {
      buckets: [
        {
          key: 'device_0',
          doc_count: 30,
          last: { hits: { total: 30, max_score: null, hits: [{ _source: { value: { temp: 58 } } }] } },
        },
        { key: 'device_1', last: { hits: { hits: [{ _source: { value: { temp: 58.5 } } }] } } },
      ],
    },
  ),
  aggregate(
    'top_hits of everything',
    { top_hits: { size: 2, from: 1, sort: [{ timestamp: 'asc' }], _source: 'streamId' } },
    { hits: { total: 164, hits: [{ _source: { streamId: 'device_12' } }, { _source: { streamId: 'device_153' } }] } },
  ),
  aggregate(
    'top_hits in ranges and histograms',
    {
      range: { ...temp, ranges: [{ from: 50 }] },
      aggs: {
        h: {
          date_histogram: { field: 'timestamp', calendar_interval: 'day' },
          aggs: { top: { top_hits: { size: 1, sort: [{ timestamp: 'asc' }], _source: ['value.temp'] } } },
        },
      },
    },
    { buckets: [{ h: { buckets: [{ top: { hits: { hits: [{ _source: { value: { temp: 50 } } }] } } }] } }] },
  ),
  aggregate(
    'top_hits in a filter, a missing and a histogram',
    {
      filter: climate,
      aggs: {
        m: {
          missing: { field: '@climate.value.rare' },
          aggs: {
            h: {
              histogram: { ...temp, interval: 30 },
              aggs: { top: { top_hits: { size: 1, sort: [{ timestamp: 'desc' }], _source: ['value.temp'] } } },
            },
          },
        },
      },
    },
    {
      m: {
        h: {
          buckets: [
            { top: { hits: { total: 48, hits: [{ _source: { value: { temp: 29.5 } } }] } } },
            { top: { hits: { hits: [{ _source: { value: { temp: 59.5 } } }] } } },
          ],
        },
      },
    },
  ),
  aggregate(
    'top_hits in several ranges',
    {
      range: { ...temp, ranges: [{ to: 10 }, { from: 10, to: 20 }, { from: 20 }] },
      aggs: { top: { top_hits: { size: 1, sort: [{ timestamp: 'desc' }], _source: ['value.temp'] } } },
    },
    {
      buckets: [
        { top: { hits: { hits: [{ _source: { value: { temp: 9.5 } } }] } } },
        { top: { hits: { total: 20, hits: [{ _source: { value: { temp: 19.5 } } }] } } },
        { top: { hits: { hits: [{ _source: { value: { temp: 59.5 } } }] } } },
      ],
    },
  ),
  aggregate(
    'top_hits in filters with the rest',
    {
      filters: {
        other_bucket: true,
        filters: { in: { term: { tags: 'indoor' } }, out: { term: { tags: 'outdoor' } } },
      },
      aggs: { top: { top_hits: { size: 1, sort: [{ timestamp: 'asc' }], _source: ['streamId'] } } },
    },
    {
      buckets: {
        in: { top: { hits: { hits: [{ _source: { streamId: 'device_0' } }] } } },
        _other_: { doc_count: 74, top: { hits: { hits: [{ _source: { streamId: 'device_12' } }] } } },
      },
    },
  ),
  aggregate(
    'top_hits sorted by value, of dates and numbers',
    {
      terms: { field: 'timestamp', size: 1 },
      aggs: { top: { top_hits: { size: 2, sort: [{ '@old.value.n': 'asc' }, 'streamId'] } } },
    },
    undefined,
    old,
  ),
  aggregate('top_hits in a grid', {
    geohash_grid: { field: 'location.@geopoint', precision: 1 },
    aggs: { top: { top_hits: { size: 1, sort: [{ timestamp: 'desc' }], _source: ['streamId'] } } },
  }),

  aggregate('bucket_selector of the manual', lastDate({ inline: 'lastdate<1490263200000', lang: 'expression' }), {
    buckets: [
      {
        key: 'device_12',
        doc_count: 2,
        last_date: { value: 1489504105020, value_as_string: '2017-03-14T15:08:25.020Z' },
      },
    ],
  }),
  aggregate(
    'bucket_selector with source',
    lastDate({ source: 'params.lastdate < 1490263200000 || lastdate > 1792800000000' }),
    { buckets: [{ key: 'autumn' }, { key: 'device_12' }] },
  ),
  aggregate(
    'bucket_selector by number',
    {
      terms: { field: 'tags' },
      aggs: { many: { bucket_selector: { buckets_path: { n: '_count' }, script: 'params.n >= 30 && n * 2 != 120' } } },
    },
    keys(['indoor', 30], ['moving', 30], ['paris', 30]),
  ),
  aggregate(
    'bucket_selector by a part of stats',
    {
      terms: { field: 'streamId' },
      aggs: {
        t: { stats: temp },
        hot: { bucket_selector: { buckets_path: { most: 't.max' }, script: 'most > 58.5' } },
      },
    },
    { buckets: [{ key: 'device_2' }, { key: 'device_3' }] },
  ),
  aggregate('bucket_selector through a filter', {
    terms: { field: 'streamId' },
    aggs: {
      f: { filter: { term: { '@climate.value.ok': true } } },
      some: { bucket_selector: { buckets_path: { n: 'f._count' }, script: 'n > 0' } },
    },
  }),
  aggregate(
    'bucket_selector in a date_histogram',
    {
      date_histogram: { field: 'timestamp', calendar_interval: 'day' },
      aggs: { t: { avg: temp }, hot: { bucket_selector: { buckets_path: { t: 't' }, script: 't > 30' } } },
    },
    undefined,
    climate,
  ),
  aggregate(
    'bucket_sort',
    {
      terms: { field: 'streamId', size: 100 },
      aggs: { t: { max: temp }, s: { bucket_sort: { sort: [{ t: { order: 'desc' } }], size: 2 } } },
    },
    { buckets: [{ key: 'device_3' }, { key: 'device_2' }] },
  ),
  aggregate(
    'bucket_sort that goes on',
    {
      terms: { field: 'streamId', size: 100 },
      aggs: { s: { bucket_sort: { sort: [{ _key: { order: 'asc' } }], from: 1, size: 2 } } },
    },
    keys(['bare', 1], ['device_0', 30]),
  ),
  aggregate(
    'bucket_sort that only cuts',
    { terms: { field: 'tags' }, aggs: { s: { bucket_sort: { from: 1, size: 1 } } } },
    keys(['indoor', 30]),
  ),
  aggregate(
    'bucket_sort of empty buckets as zeros',
    {
      histogram: { field: '@climate.value.readings', interval: 500 },
      aggs: { m: { sum: temp }, s: { bucket_sort: { sort: [{ m: 'asc' }], gap_policy: 'insert_zeros', size: 1 } } },
    },
    { buckets: [{ key: 500, doc_count: 0 }] },
  ),
];
