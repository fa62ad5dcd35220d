import { CROWD } from '../data.js';
import type { Case } from './case.js';

const climate = { term: { model: 'climate' } };
const device12 = { term: { streamId: 'device_12' } };

export const hitCases: Case[] = [
  { name: 'ten hits when no size is given', body: {}, total: 164 },
  { name: 'a total that is cut', tenant: CROWD, body: { size: 0 }, total: 10_000, gte: true },
  { name: 'a total that is not cut in v0', tenant: CROWD, version: 'v0', body: { size: 0 }, total: 10_123 },
  {
    name: 'a total with a cap of its own',
    tenant: CROWD,
    body: { size: 0, track_total_hits: 100 },
    total: 100,
    gte: true,
  },
  {
    name: 'sort newest first',
    body: { size: 3, query: climate, sort: [{ timestamp: 'desc' }] },
    hits: { of: 'value.temp', values: [59.5, 59, 58.5] },
  },
  {
    name: 'sort oldest first',
    body: { size: 2, query: device12, sort: { timestamp: { order: 'asc' } } },
    hits: { of: 'timestamp', values: ['2017-03-10T15:08:25.020Z', '2017-03-14T15:08:25.020Z'] },
  },
  {
    name: 'sort by a field of value, then time',
    body: { size: 3, query: climate, sort: [{ '@climate.value.level': 'desc' }, 'timestamp'] },
    hits: { of: 'value.temp', values: [4.5, 9.5, 14.5] },
  },
  {
    name: 'sort by text',
    body: { size: 2, query: climate, sort: [{ streamId: 'desc' }, { timestamp: 'asc' }] },
    hits: { of: 'value.temp', values: [1.5, 3.5] },
  },
  {
    name: 'sort: what has none comes last',
    body: { size: 25, from: 23, query: climate, sort: [{ '@climate.value.rare': 'desc' }, { timestamp: 'asc' }] },
    hits: {
      of: 'value.temp',
      values: [
        0,
        ...Array.from({ length: 30 }, (_, i) => i + 1)
          .filter((i) => i % 5 !== 0)
          .map((i) => i / 2),
      ],
    },
  },
  {
    name: 'sort: what has none comes first',
    body: {
      size: 2,
      query: climate,
      sort: [{ '@climate.value.rare': { order: 'asc', missing: '_first' } }, { timestamp: 'asc' }],
    },
    hits: { of: 'value.temp', values: [0.5, 1] },
  },
  {
    name: 'sort by the greatest of several values',
    body: { size: 2, query: climate, sort: [{ '@climate.value.readings': 'desc' }] },
    hits: { of: 'value.temp', values: [59.5, 59] },
  },
  {
    name: 'sort by the greatest of several values, ascending',
    body: { size: 2, query: climate, sort: [{ '@climate.value.readings': { order: 'asc', mode: 'max' } }] },
    hits: { of: 'value.temp', values: [0, 0.5] },
  },
  {
    name: 'sort by a field that nobody has',
    body: { size: 2, query: climate, sort: [{ nosuch: 'asc' }, { timestamp: 'asc' }] },
    hits: { of: 'value.temp', values: [0, 0.5] },
  },
  {
    name: 'a page',
    body: { size: 2, from: 10, query: climate, sort: ['timestamp'] },
    hits: { of: 'value.temp', values: [5, 5.5] },
  },
  {
    name: 'search_after by time',
    body: { size: 2, query: climate, sort: ['timestamp'], search_after: [1774571400000] },
    hits: { of: 'value.temp', values: [0.5, 1] },
  },
  {
    name: 'search_after by two sorts',
    body: {
      size: 2,
      query: climate,
      sort: [{ '@climate.value.level': 'asc' }, { timestamp: 'desc' }],
      search_after: [0, 1774607400000],
    },
    hits: { of: 'value.temp', values: [0, 55.5] },
  },
  {
    name: 'search_after by text',
    body: {
      size: 1,
      query: climate,
      sort: [{ streamId: 'asc' }, { timestamp: 'asc' }],
      search_after: ['device_1', 9_999_999_999_999],
    },
    hits: { of: 'streamId', values: ['device_2'] },
  },
  {
    name: 'search_after the last one',
    body: { size: 2, query: climate, sort: ['timestamp'], search_after: [9_999_999_999_999] },
    hits: { of: 'value.temp', values: [] },
  },
  { name: '_source of nothing', body: { size: 1, query: device12, sort: ['timestamp'], _source: false } },
  {
    name: '_source of one member',
    body: { size: 1, query: climate, sort: ['timestamp'], _source: 'value.nested.name' },
    hits: { of: '', values: [{ value: { nested: { name: 'n-0' } } }] },
  },
  {
    name: '_source of an object',
    body: { size: 1, query: climate, sort: ['timestamp'], _source: ['metadata.group', 'streamId'] },
    hits: { of: '', values: [{ streamId: 'device_0', metadata: { group: { id: 'root', path: '/France/Paris' } } }] },
  },
  {
    name: '_source by patterns',
    body: {
      size: 1,
      query: climate,
      sort: ['timestamp'],
      _source: { includes: ['val*'], excludes: ['value.nested', '*.readings', 'value.r*', 'value.state'] },
    },
    hits: { of: '', values: [{ value: { temp: 0, level: 0, ok: true } }] },
  },
  {
    name: '_source in an array of objects',
    body: { size: 1, query: climate, sort: ['timestamp'], _source: ['value.nested.parts.size'] },
    hits: { of: '', values: [{ value: { nested: { parts: [{ size: 0 }, { size: 7 }] } } }] },
  },
  {
    name: 'last known location',
    body: {
      from: 0,
      size: 1,
      sort: [{ timestamp: 'desc' }],
      query: {
        bool: {
          must: [{ range: { timestamp: { lt: '2026-12-01' } } }, { exists: { field: 'location' } }],
          filter: [{ term: { 'metadata.source': 'urn:lo:nsid:mqtt:tracker' } }],
          must_not: [{ term: { model: 'event:DeviceActivity' } }],
        },
      },
    },
    total: 30,
    hits: { of: 'value.speed', values: [29] },
  },
];
