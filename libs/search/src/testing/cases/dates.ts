import { aggregate, type Case } from './case.js';

const climate = { term: { model: 'climate' } };
const autumn = { term: { model: 'autumn' } };
const days = (options: Record<string, unknown>): Record<string, unknown> => ({
  date_histogram: { field: 'timestamp', ...options },
});
const dated = (...buckets: Array<[string, number]>): Record<string, unknown> => ({
  buckets: buckets.map(([text, count]) => ({ key_as_string: text, key: Date.parse(text), doc_count: count })),
});

export const dateCases: Case[] = [
  aggregate(
    'days',
    days({ calendar_interval: 'day' }),
    dated(
      ['2026-03-27T00:00:00.000Z', 24],
      ['2026-03-28T00:00:00.000Z', 24],
      ['2026-03-29T00:00:00.000Z', 24],
      ['2026-03-30T00:00:00.000Z', 24],
      ['2026-03-31T00:00:00.000Z', 24],
    ),
    climate,
  ),
  aggregate(
    'days with the old interval',
    days({ interval: '1d' }),
    dated(
      ['2026-03-27T00:00:00.000Z', 24],
      ['2026-03-28T00:00:00.000Z', 24],
      ['2026-03-29T00:00:00.000Z', 24],
      ['2026-03-30T00:00:00.000Z', 24],
      ['2026-03-31T00:00:00.000Z', 24],
    ),
    climate,
  ),
  aggregate(
    'days in Paris, one of 23 hours',
    days({ calendar_interval: 'day', time_zone: 'Europe/Paris' }),
    dated(
      ['2026-03-27T00:00:00.000+01:00', 23],
      ['2026-03-28T00:00:00.000+01:00', 24],
      ['2026-03-29T00:00:00.000+01:00', 23],
      ['2026-03-30T00:00:00.000+02:00', 24],
      ['2026-03-31T00:00:00.000+02:00', 24],
      ['2026-04-01T00:00:00.000+02:00', 2],
    ),
    climate,
  ),
  aggregate(
    'days at an offset of the clock',
    days({ calendar_interval: 'day', time_zone: '-05:00' }),
    dated(
      ['2026-03-26T00:00:00.000-05:00', 5],
      ['2026-03-27T00:00:00.000-05:00', 24],
      ['2026-03-28T00:00:00.000-05:00', 24],
      ['2026-03-29T00:00:00.000-05:00', 24],
      ['2026-03-30T00:00:00.000-05:00', 24],
      ['2026-03-31T00:00:00.000-05:00', 19],
    ),
    climate,
  ),
  aggregate(
    'days that begin at six',
    days({ calendar_interval: 'day', offset: '+6h' }),
    dated(
      ['2026-03-26T06:00:00.000Z', 6],
      ['2026-03-27T06:00:00.000Z', 24],
      ['2026-03-28T06:00:00.000Z', 24],
      ['2026-03-29T06:00:00.000Z', 24],
      ['2026-03-30T06:00:00.000Z', 24],
      ['2026-03-31T06:00:00.000Z', 18],
    ),
    climate,
  ),
  aggregate(
    'hours of the night that is an hour longer',
    days({ calendar_interval: 'hour', time_zone: 'Europe/Paris' }),
    dated(
      ['2026-10-25T01:00:00.000+02:00', 1],
      ['2026-10-25T02:00:00.000+02:00', 1],
      ['2026-10-25T02:00:00.000+01:00', 1],
      ['2026-10-25T03:00:00.000+01:00', 1],
    ),
    autumn,
  ),
  aggregate(
    'hours of the night that is an hour shorter',
    days({ calendar_interval: '1h', time_zone: 'Europe/Paris' }),
    dated(['2026-03-29T01:00:00.000+01:00', 1], ['2026-03-29T03:00:00.000+02:00', 1]),
    { range: { timestamp: { gte: '2026-03-29T00:00:00Z', lt: '2026-03-29T02:00:00Z' } } },
  ),
  aggregate(
    'hours where clocks differ by half an hour',
    days({ calendar_interval: 'hour', time_zone: 'Asia/Kolkata' }),
    dated(['2026-03-27T06:00:00.000+05:30', 1], ['2026-03-27T07:00:00.000+05:30', 1]),
    { range: { timestamp: { gte: '2026-03-27', lt: '2026-03-27T02:00:00Z' } } },
  ),
  aggregate(
    'minutes',
    days({ calendar_interval: 'minute', min_doc_count: 1 }),
    dated(
      ['2026-10-24T23:15:00.000Z', 1],
      ['2026-10-25T00:15:00.000Z', 1],
      ['2026-10-25T01:15:00.000Z', 1],
      ['2026-10-25T02:15:00.000Z', 1],
    ),
    autumn,
  ),
  aggregate(
    'weeks',
    days({ calendar_interval: 'week' }),
    dated(['2026-03-23T00:00:00.000Z', 72], ['2026-03-30T00:00:00.000Z', 48]),
    climate,
  ),
  aggregate(
    'weeks in Paris',
    days({ calendar_interval: '1w', time_zone: 'Europe/Paris' }),
    dated(['2026-03-23T00:00:00.000+01:00', 70], ['2026-03-30T00:00:00.000+02:00', 50]),
    climate,
  ),
  aggregate(
    'months with empty ones',
    days({ calendar_interval: 'month' }),
    dated(['2026-03-01T00:00:00.000Z', 120], ['2026-04-01T00:00:00.000Z', 0], ['2026-05-01T00:00:00.000Z', 30]),
    { terms: { model: ['climate', 'track'] } },
  ),
  aggregate(
    'months without empty ones',
    days({ calendar_interval: '1M', min_doc_count: 1 }),
    dated(['2026-03-01T00:00:00.000Z', 120], ['2026-05-01T00:00:00.000Z', 30]),
    { terms: { model: ['climate', 'track'] } },
  ),
  aggregate(
    'months in Paris',
    days({ calendar_interval: 'month', time_zone: 'Europe/Paris' }),
    dated(['2026-03-01T00:00:00.000+01:00', 118], ['2026-04-01T00:00:00.000+02:00', 2]),
    climate,
  ),
  aggregate(
    'quarters',
    days({ calendar_interval: 'quarter' }),
    dated(['2026-01-01T00:00:00.000Z', 120], ['2026-04-01T00:00:00.000Z', 30]),
    { terms: { model: ['climate', 'track'] } },
  ),
  aggregate('years over nine of nothing', days({ calendar_interval: 'year', format: 'yyyy' }), {
    buckets: [
      { key_as_string: '2017', doc_count: 3 },
      { key_as_string: '2018', doc_count: 0 },
      { doc_count: 0 },
      { doc_count: 0 },
      { doc_count: 0 },
      { doc_count: 0 },
      { doc_count: 0 },
      { doc_count: 0 },
      { key_as_string: '2025', doc_count: 0 },
      { key_as_string: '2026', doc_count: 161 },
    ],
  }),
  aggregate(
    'fixed hours',
    days({ fixed_interval: '12h' }),
    dated(['2026-03-27T00:00:00.000Z', 12], ['2026-03-27T12:00:00.000Z', 12]),
    { term: { timestamp: '2026-03-27' } },
  ),
  aggregate(
    'fixed days',
    days({ fixed_interval: '2d' }),
    dated(['2026-03-26T00:00:00.000Z', 24], ['2026-03-28T00:00:00.000Z', 48], ['2026-03-30T00:00:00.000Z', 48]),
    climate,
  ),
  aggregate(
    'fixed milliseconds with an offset',
    days({ fixed_interval: '3600000ms', offset: '15m' }),
    dated(
      ['2026-10-24T23:15:00.000Z', 1],
      ['2026-10-25T00:15:00.000Z', 1],
      ['2026-10-25T01:15:00.000Z', 1],
      ['2026-10-25T02:15:00.000Z', 1],
    ),
    autumn,
  ),
  aggregate(
    'fixed hours at an offset of the clock',
    days({ fixed_interval: '24h', time_zone: '+01:00' }),
    dated(
      ['2026-03-27T00:00:00.000+01:00', 23],
      ['2026-03-28T00:00:00.000+01:00', 24],
      ['2026-03-29T00:00:00.000+01:00', 24],
      ['2026-03-30T00:00:00.000+01:00', 24],
      ['2026-03-31T00:00:00.000+01:00', 24],
      ['2026-04-01T00:00:00.000+01:00', 1],
    ),
    climate,
  ),
  aggregate(
    'the old interval of two hours',
    days({ interval: '2h', min_doc_count: 1 }),
    dated(['2026-10-24T22:00:00.000Z', 1], ['2026-10-25T00:00:00.000Z', 2], ['2026-10-25T02:00:00.000Z', 1]),
    autumn,
  ),
  aggregate(
    'bounds',
    days({ calendar_interval: 'day', extended_bounds: { min: '2026-10-23', max: '2026-10-26' } }),
    dated(
      ['2026-10-23T00:00:00.000Z', 0],
      ['2026-10-24T00:00:00.000Z', 1],
      ['2026-10-25T00:00:00.000Z', 3],
      ['2026-10-26T00:00:00.000Z', 0],
    ),
    autumn,
  ),
  aggregate(
    'bounds in milliseconds, in Paris',
    days({
      calendar_interval: 'day',
      time_zone: 'Europe/Paris',
      extended_bounds: { min: Date.parse('2026-10-23T22:30:00Z'), max: Date.parse('2026-10-25T23:30:00Z') },
    }),
    dated(
      ['2026-10-24T00:00:00.000+02:00', 0],
      ['2026-10-25T00:00:00.000+02:00', 4],
      ['2026-10-26T00:00:00.000+01:00', 0],
    ),
    autumn,
  ),
  aggregate(
    'bounds of nothing',
    days({ calendar_interval: 'month', extended_bounds: { min: '2026-01-15', max: '2026-02-15' } }),
    dated(['2026-01-01T00:00:00.000Z', 0], ['2026-02-01T00:00:00.000Z', 0]),
    { match_none: {} },
  ),
  aggregate('of nothing', days({ calendar_interval: 'month' }), { buckets: [] }, { match_none: {} }),
  aggregate(
    'by keys',
    days({ calendar_interval: 'month', keyed: true, format: 'yyyy-MM' }),
    { buckets: { '2026-03': { key_as_string: '2026-03', key: 1772323200000, doc_count: 120 } } },
    climate,
  ),
  aggregate(
    'a format in a time zone',
    days({ calendar_interval: 'month', time_zone: 'Europe/Paris', format: "yyyy/MM/dd HH:mm'h'" }),
    { buckets: [{ key_as_string: '2026-03/01 00:00h'.replace('-', '/') }, { key_as_string: '2026/04/01 00:00h' }] },
    climate,
  ),
  aggregate(
    'in reverse',
    days({ calendar_interval: 'week', order: { _key: 'desc' } }),
    dated(['2026-03-30T00:00:00.000Z', 48], ['2026-03-23T00:00:00.000Z', 72]),
    climate,
  ),
  aggregate(
    'by number',
    days({ calendar_interval: 'week', order: { _count: 'asc' } }),
    dated(['2026-03-30T00:00:00.000Z', 48], ['2026-03-23T00:00:00.000Z', 72]),
    climate,
  ),
  aggregate(
    'by a metric',
    {
      ...days({ calendar_interval: 'week', order: { t: 'desc' } }),
      aggs: { t: { max: { field: '@climate.value.temp' } } },
    },
    {
      buckets: [
        { doc_count: 48, t: { value: 59.5 } },
        { doc_count: 72, t: { value: 35.5 } },
      ],
    },
    climate,
  ),
  aggregate(
    'with a metric in empty ones',
    { ...days({ calendar_interval: 'month' }), aggs: { t: { stats: { field: '@climate.value.temp' } } } },
    { buckets: [{ t: { count: 120 } }, { t: { count: 0, min: null, sum: 0 } }, { t: { count: 0 } }] },
    { terms: { model: ['climate', 'track'] } },
  ),
  aggregate(
    'terms, days and stats',
    {
      terms: { field: 'streamId', size: 2 },
      aggs: { d: { ...days({ calendar_interval: 'day' }), aggs: { t: { stats: { field: '@climate.value.temp' } } } } },
    },
    {
      sum_other_doc_count: 60,
      buckets: [
        {
          key: 'device_0',
          d: {
            buckets: [
              { key: Date.parse('2026-03-27'), doc_count: 6, t: { count: 6, min: 0, max: 10, avg: 5, sum: 30 } },
              {},
              {},
              {},
              { doc_count: 6, t: { max: 58 } },
            ],
          },
        },
        { key: 'device_1' },
      ],
    },
    climate,
  ),
  aggregate(
    'date_range',
    {
      date_range: {
        field: 'timestamp',
        ranges: [{ to: '2026-03-28' }, { from: '2026-03-28', to: '2026-03-28||+1d' }, { from: '2026-03-29' }],
      },
    },
    {
      buckets: [
        {
          key: '*-2026-03-28T00:00:00.000Z',
          to: Date.parse('2026-03-28'),
          to_as_string: '2026-03-28T00:00:00.000Z',
          doc_count: 24,
        },
        {
          key: '2026-03-28T00:00:00.000Z-2026-03-29T00:00:00.000Z',
          from: Date.parse('2026-03-28'),
          from_as_string: '2026-03-28T00:00:00.000Z',
          to: Date.parse('2026-03-29'),
          to_as_string: '2026-03-29T00:00:00.000Z',
          doc_count: 24,
        },
        { key: '2026-03-29T00:00:00.000Z-*', doc_count: 72 },
      ],
    },
    climate,
  ),
  aggregate(
    'date_range with keys and a format',
    {
      date_range: {
        field: 'timestamp',
        format: 'dd/MM/yyyy',
        keyed: true,
        ranges: [{ key: 'early', to: '28/03/2026' }, { from: '28/03/2026' }],
      },
    },
    {
      buckets: {
        early: { to_as_string: '28/03/2026', doc_count: 24 },
        '28/03/2026-*': { from_as_string: '28/03/2026', doc_count: 96 },
      },
    },
    climate,
  ),
  aggregate(
    'date_range in a time zone',
    { date_range: { field: 'timestamp', time_zone: 'Europe/Paris', ranges: [{ to: '2026-03-28' }] } },
    { buckets: [{ key: '*-2026-03-28T00:00:00.000+01:00', doc_count: 23 }] },
    climate,
  ),
];
