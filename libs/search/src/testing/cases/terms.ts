import { aggregate, type Case } from './case.js';

const climate = { term: { model: 'climate' } };
const temp = { field: '@climate.value.temp' };
const keys = (...buckets: Array<[unknown, number]>): Record<string, unknown> => ({
  buckets: buckets.map(([key, count]) => ({ key, doc_count: count })),
});

export const termCases: Case[] = [
  aggregate(
    'terms of tags',
    { terms: { field: 'tags' } },
    {
      doc_count_error_upper_bound: 0,
      sum_other_doc_count: 0,
      ...keys(
        ['outdoor', 60],
        ['indoor', 30],
        ['moving', 30],
        ['paris', 30],
        ['tag_1', 2],
        ['a b', 1],
        ['tag_10', 1],
        ['été', 1],
      ),
    },
  ),
  aggregate(
    'terms with a size',
    { terms: { field: 'tags', size: 2 } },
    { sum_other_doc_count: 65, ...keys(['outdoor', 60], ['indoor', 30]) },
  ),
  aggregate(
    'terms with a least number',
    { terms: { field: 'tags', min_doc_count: 2, size: 3 } },
    { sum_other_doc_count: 32, ...keys(['outdoor', 60], ['indoor', 30], ['moving', 30]) },
  ),
  aggregate(
    'terms by key',
    { terms: { field: 'streamId', size: 2, order: { _key: 'desc' } } },
    keys(['tracker', 30], ['text', 3]),
  ),
  aggregate(
    'terms by _term',
    { terms: { field: 'streamId', size: 2, order: { _term: 'asc' } } },
    keys(['autumn', 4], ['bare', 1]),
  ),
  aggregate(
    'terms by fewest',
    { terms: { field: 'tags', order: { _count: 'asc' }, size: 3 } },
    keys(['a b', 1], ['tag_10', 1], ['été', 1]),
  ),
  aggregate(
    'terms of integers',
    { terms: { field: '@climate.value.level', order: { _key: 'asc' }, size: 3 } },
    keys([0, 12], [1, 12], [2, 12]),
  ),
  aggregate(
    'terms of integers by key as numbers',
    { terms: { field: '@old.value.n' } },
    keys([-1.5, 1], [2, 1], [1e6, 1]),
  ),
  aggregate(
    'terms of booleans',
    { terms: { field: '@climate.value.ok' } },
    {
      buckets: [
        { key: 0, key_as_string: 'false', doc_count: 80 },
        { key: 1, key_as_string: 'true', doc_count: 40 },
      ],
    },
  ),
  aggregate(
    'terms of an array of numbers',
    { terms: { field: '@climate.value.readings', order: { _key: 'asc' }, size: 2 } },
    keys([0, 1], [1, 1]),
  ),
  aggregate(
    'terms of an array of objects, each document once',
    { terms: { field: '@climate.value.nested.parts.size' } },
    keys([7, 120], [0, 60], [1, 60]),
  ),
  aggregate(
    'terms of dates',
    { terms: { field: 'timestamp' } },
    { buckets: [{ key: 1489158505020, key_as_string: '2017-03-10T15:08:25.020Z', doc_count: 1 }, { doc_count: 1 }] },
    { term: { streamId: 'device_12' } },
  ),
  aggregate(
    'terms of models',
    { terms: { field: 'model', size: 3 } },
    keys(['climate', 120], ['track', 30], ['autumn', 4]),
  ),
  aggregate(
    'terms of arrival',
    { terms: { field: 'created' } },
    { buckets: [{ key: Date.parse('2026-04-02T08:00:00.000Z'), doc_count: 164 }] },
  ),
  aggregate(
    'terms of nothing',
    { terms: { field: 'nosuch' } },
    { doc_count_error_upper_bound: 0, sum_other_doc_count: 0, buckets: [] },
  ),
  aggregate(
    'terms that are included',
    { terms: { field: 'tags', include: ['indoor', 'paris', 'x'] } },
    { sum_other_doc_count: 0, ...keys(['indoor', 30], ['paris', 30]) },
  ),
  aggregate(
    'terms without the excluded',
    { terms: { field: 'tags', exclude: ['outdoor', 'indoor', 'moving'], size: 2 } },
    keys(['paris', 30], ['tag_1', 2]),
  ),
  aggregate(
    'terms with a default',
    { terms: { field: 'model', missing: 'none', order: { _key: 'desc' }, size: 3 } },
    keys(['track', 30], ['text', 3], ['pair', 1]),
  ),
  aggregate(
    'terms with a default of value',
    { terms: { field: '@climate.value.rare', missing: -1, size: 1 } },
    keys([-1, 96]),
    climate,
  ),
  aggregate(
    'terms by a metric',
    { terms: { field: 'streamId', order: { t: 'desc' }, size: 2 }, aggs: { t: { max: temp } } },
    {
      buckets: [
        { key: 'device_3', t: { value: 59.5 } },
        { key: 'device_2', t: { value: 59 } },
      ],
    },
  ),
  aggregate(
    'terms by a metric that some lack',
    { terms: { field: 'streamId', order: { 't.avg': 'asc' }, size: 1 }, aggs: { t: { stats: temp } } },
    { buckets: [{ key: 'device_0', t: { avg: 29 } }] },
  ),
  aggregate(
    'terms by a metric inside a filter',
    {
      terms: { field: 'streamId', order: { 'hot>t': 'desc' }, size: 1 },
      aggs: { hot: { filter: { range: { '@climate.value.temp': { lt: 59 } } }, aggs: { t: { max: temp } } } },
    },
    { buckets: [{ key: 'device_1', hot: { doc_count: 30 } }] },
    climate,
  ),
  aggregate(
    'terms by two orders',
    { terms: { field: 'streamId', order: [{ _count: 'desc' }, { _key: 'desc' }], size: 2 } },
    keys(['tracker', 30], ['device_3', 30]),
  ),
  aggregate(
    'terms in terms',
    { terms: { field: 'streamId', size: 1 }, aggs: { tags: { terms: { field: 'tags' } } } },
    {
      buckets: [
        {
          key: 'device_0',
          tags: {
            buckets: [
              { key: 'indoor', doc_count: 30 },
              { key: 'paris', doc_count: 30 },
            ],
          },
        },
      ],
    },
  ),
  aggregate(
    'terms of an array in terms of an array',
    { terms: { field: 'tags', size: 2 }, aggs: { same: { terms: { field: 'tags' } }, t: { avg: temp } } },
    {
      buckets: [
        { key: 'outdoor', same: keys(['outdoor', 60]), t: { value: 29.75 } },
        { key: 'indoor', same: keys(['indoor', 30], ['paris', 30]), t: { value: 29 } },
      ],
    },
  ),
  aggregate(
    'terms with two kinds of buckets inside',
    {
      terms: { field: 'streamId', size: 1 },
      aggs: {
        l: { terms: { field: '@climate.value.level', size: 1 } },
        m: { missing: { field: '@climate.value.rare' } },
        s: { sum: temp },
      },
    },
    {
      buckets: [
        {
          key: 'device_0',
          doc_count: 30,
          l: { buckets: [{ key: 0, doc_count: 6 }] },
          m: { doc_count: 24 },
          s: { value: 870 },
        },
      ],
    },
  ),
  {
    ...aggregate(
      'estimates in terms',
      {
        terms: { field: 'streamId', size: 4 },
        aggs: {
          c: { cardinality: { field: '@climate.value.level' } },
          p: { percentiles: { ...temp, percents: [50] } },
        },
      },
      { buckets: [{ key: 'device_0', c: { value: 5 }, p: { values: { '50.0': 29 } } }] },
    ),
    tolerance: 0.1,
  },
];
