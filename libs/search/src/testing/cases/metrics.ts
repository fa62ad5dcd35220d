import { aggregate, type Case } from './case.js';

const climate = { term: { model: 'climate' } };
const old = { term: { model: 'old' } };
const temp = { field: '@climate.value.temp' };

export const metricCases: Case[] = [
  aggregate('avg', { avg: temp }, { value: 29.75 }),
  aggregate('avg of nothing', { avg: { field: 'nosuch' } }, { value: null }),
  aggregate('min', { min: temp }, { value: 0 }),
  aggregate('max of an array', { max: { field: '@climate.value.readings' } }, { value: 1119 }),
  aggregate('sum', { sum: { field: '@climate.value.level' } }, { value: 540 }),
  aggregate('sum of nothing', { sum: temp }, { value: 0 }, old),
  aggregate('sum with a default', { sum: { field: '@climate.value.rare', missing: 1 } }, { value: 1380 + 96 }, climate),
  aggregate('avg with a default', { avg: { field: '@climate.value.rare', missing: 0 } }, { value: 11.5 }, climate),
  aggregate(
    'max of dates',
    { max: { field: 'timestamp' } },
    { value: 1489504105020, value_as_string: '2017-03-14T15:08:25.020Z' },
    { term: { streamId: 'device_12' } },
  ),
  aggregate(
    'min of dates with a format',
    { min: { field: 'timestamp', format: 'yyyy-MM-dd' } },
    { value: 1489158505020, value_as_string: '2017-03-10' },
  ),
  aggregate(
    'avg of dates',
    { avg: { field: 'timestamp' } },
    { value: 1489331305020, value_as_string: '2017-03-12T15:08:25.020Z' },
    { term: { streamId: 'device_12' } },
  ),
  aggregate('max of dates of nothing', { max: { field: 'timestamp' } }, { value: null }, { match_none: {} }),
  aggregate('value_count', { value_count: temp }, { value: 120 }),
  aggregate('value_count of an array', { value_count: { field: '@climate.value.readings' } }, { value: 240 }),
  aggregate('value_count of strings', { value_count: { field: 'tags' } }, { value: 30 * 2 + 60 + 30 + 5 }),
  aggregate('value_count of streams', { value_count: { field: 'streamId' } }, { value: 164 }),
  { ...aggregate('cardinality', { cardinality: { field: 'streamId' } }, { value: 12 }), tolerance: 0.01 },
  { ...aggregate('cardinality of numbers', { cardinality: temp }, { value: 120 }), tolerance: 0.05 },
  { ...aggregate('cardinality of an array', { cardinality: { field: 'tags' } }, { value: 8 }), tolerance: 0.01 },
  aggregate('cardinality of nothing', { cardinality: { field: 'nosuch' } }, { value: 0 }),
  aggregate('stats', { stats: temp }, { count: 120, min: 0, max: 59.5, avg: 29.75, sum: 3570 }),
  aggregate('stats of nothing', { stats: temp }, { count: 0, min: null, max: null, avg: null, sum: 0 }, old),
  aggregate(
    'stats of dates',
    { stats: { field: 'timestamp' } },
    { count: 2, min_as_string: '2017-03-10T15:08:25.020Z' },
    { term: { streamId: 'device_12' } },
  ),
  aggregate(
    'stats of negative and great numbers',
    { stats: { field: '@old.value.n' } },
    { count: 3, min: -1.5, max: 1e6, sum: 1000000.5 },
  ),
  aggregate(
    'extended_stats',
    { extended_stats: { field: '@climate.value.level' } },
    { count: 120, avg: 4.5, sum_of_squares: 3420, variance: 8.25, std_deviation: Math.sqrt(8.25) },
  ),
  aggregate(
    'extended_stats with sigma',
    { extended_stats: { field: '@climate.value.level', sigma: 3 } },
    { std_deviation_bounds: { upper: 4.5 + 3 * Math.sqrt(8.25), lower: 4.5 - 3 * Math.sqrt(8.25) } },
  ),
  aggregate('extended_stats of nothing', { extended_stats: { field: 'nosuch' } }, { count: 0, sum: 0, variance: null }),
  {
    ...aggregate(
      'percentiles',
      { percentiles: temp },
      { values: { '1.0': 0.595, '25.0': 14.875, '50.0': 29.75, '75.0': 44.625, '99.0': 58.905 } },
    ),
    olderTolerance: 0.25,
  },
  {
    ...aggregate(
      'percentiles of choice',
      { percentiles: { field: '@climate.value.level', percents: [0, 50, 99.9, 100] } },
      { values: { '0.0': 0, '50.0': 4.5, '99.9': 9, '100.0': 9 } },
    ),
    olderTolerance: 0.1,
  },
  {
    ...aggregate('percentiles as a list', { percentiles: { ...temp, percents: [10, 90], keyed: false } }),
    olderTolerance: 0.05,
  },
  {
    ...aggregate(
      'percentiles of one value',
      { percentiles: { ...temp, percents: [10, 50] } },
      { values: { '10.0': 0, '50.0': 0 } },
      { bool: { filter: [climate, { range: { '@climate.value.temp': { lt: 0.5 } } }] } },
    ),
  },
  aggregate('percentiles of nothing', { percentiles: { ...temp, percents: [50] } }, { values: { '50.0': null } }, old),
];
