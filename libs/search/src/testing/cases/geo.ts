import { aggregate, type Case, filter } from './case.js';

const distance = (metres: string, field: string, point: unknown): Record<string, unknown> => ({
  geo_distance: { distance: metres, [field]: point },
});
const manual = { lat: 43.848, lon: -3.417 };

export const geoCases: Case[] = [
  filter('geo_distance', distance('50m', 'location.@geopoint', { lat: 43.8, lon: -3.4 }), 1),
  filter(
    'geo_distance of the manual',
    { bool: { must: { match_all: {} }, filter: distance('10km', 'location.@geopoint', manual) } },
    10,
  ),
  filter('geo_distance without the dot', distance('50m', 'location@geopoint', { lat: 43.8, lon: -3.4 }), 1),
  filter('geo_distance of an array', distance('50m', 'location.@geopoint', [-3.4, 43.8]), 1),
  filter('geo_distance of a text', distance('50m', 'location.@geopoint', '43.8, -3.4'), 1),
  filter('geo_distance of a geohash', distance('1km', 'location.@geopoint', 'ezqqh9xc'), undefined),
  filter(
    'geo_distance in value, any case',
    distance('50m', '@track.value.pos.Location.@geopoint', { lat: -43.8, lon: -3.4 }),
    1,
  ),
  filter('geo_distance in miles', distance('6.3mi', 'location.@geopoint', manual)),
  filter('geo_distance around the world', distance('20100km', 'location.@geopoint', { lat: 0, lon: 0 }), 32),
  filter('geo_distance over the 180th meridian', distance('120km', 'location.@geopoint', { lat: -17, lon: -179.9 }), 2),
  filter(
    'geo_distance of any point of a document',
    distance('1km', '@pair.value.stops.location.@geopoint', { lat: 20, lon: 20 }),
    1,
  ),
  filter(
    'geo_bounding_box',
    {
      geo_bounding_box: {
        'location.@geopoint': { top_left: { lat: 43.905, lon: -3.405 }, bottom_right: { lat: 43.795, lon: -3.295 } },
      },
    },
    11,
  ),
  filter(
    'geo_bounding_box by edges',
    { geo_bounding_box: { 'location.@geopoint': { top: 43.905, left: -3.405, bottom: 43.795, right: -3.295 } } },
    11,
  ),
  filter(
    'geo_bounding_box by other corners',
    { geo_bounding_box: { 'location.@geopoint': { top_right: [-3.295, 43.905], bottom_left: [-3.405, 43.795] } } },
    11,
  ),
  filter(
    'geo_bounding_box over the 180th meridian',
    { geo_bounding_box: { 'location.@geopoint': { top: -16, left: 179, bottom: -18, right: -179 } } },
    2,
  ),
  filter(
    'geo_polygon',
    {
      geo_polygon: {
        'location.@geopoint': {
          points: [
            [-3.45, 43.75],
            [-3.25, 43.75],
            [-3.25, 43.895],
            [-3.45, 43.895],
          ],
        },
      },
    },
    10,
  ),
  filter('geo_polygon that is not convex', {
    geo_polygon: {
      'location.@geopoint': { points: ['43.795,-3.405', '43.795,-3.0', '44.2,-3.0', '44.0951,-3.1049', '43.9,-3.0'] },
    },
  }),
  filter('exists of a point', { exists: { field: 'location.@geopoint' } }, 32),
  aggregate('geohash_grid', { geohash_grid: { field: 'location.@geopoint', precision: 3 } }, undefined, {
    term: { model: 'track' },
  }),
  aggregate('geohash_grid, fine', { geohash_grid: { field: 'location.@geopoint', precision: 7, size: 5 } }),
  aggregate('geohash_grid with a metric', {
    geohash_grid: { field: 'location.@geopoint', precision: 4 },
    aggs: { fast: { max: { field: '@track.value.speed' } } },
  }),
  aggregate(
    'geo_bounds',
    { geo_bounds: { field: 'location.@geopoint', wrap_longitude: false } },
    {
      bounds: { top_left: { lat: 44.09, lon: -3.4 }, bottom_right: { lat: 43.8, lon: -3.11 } },
    },
    { term: { model: 'track' } },
  ),
  aggregate(
    'geo_centroid',
    { geo_centroid: { field: 'location.@geopoint' } },
    { location: { lat: 43.945, lon: -3.255 }, count: 30 },
    { term: { model: 'track' } },
  ),
  aggregate(
    'geo_centroid of two points of a document',
    { geo_centroid: { field: '@pair.value.stops.location.@geopoint' } },
    { location: { lat: 15, lon: 15 }, count: 2 },
  ),
  aggregate(
    'geo_centroid of nothing',
    { geo_centroid: { field: 'location.@geopoint' } },
    { count: 0 },
    { term: { model: 'climate' } },
  ),
  aggregate('geo_bounds by provider', {
    terms: { field: 'location.provider' },
    aggs: { box: { geo_bounds: { field: 'location.@geopoint', wrap_longitude: false } } },
  }),
];
