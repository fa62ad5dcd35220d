import type { FieldType } from './tree.js';

/** Fields that every message has or may have (manual 15.2.1); those of value, extra and metadata.network are learned. */
export const MESSAGE_FIELDS: Readonly<Record<string, FieldType>> = Object.assign(
  // Asked with names of users: `constructor` is none of them.
  Object.create(null) as Record<string, FieldType>,
  {
    id: 'string',
    streamId: 'string',
    model: 'string',
    tags: 'string',
    timestamp: 'date',
    created: 'date',
    'location.@geopoint': 'geo',
    'location.lat': 'number',
    'location.lon': 'number',
    'location.alt': 'number',
    'location.accuracy': 'number',
    'location.provider': 'string',
    'metadata.connector': 'string',
    'metadata.source': 'string',
    'metadata.encoding': 'string',
    'metadata.group.id': 'string',
    'metadata.group.path': 'string',
  } as const,
);

const LOCATION = /(^|\.)location$/i;

/** A member of this name with latitude and longitude is searchable as a point (manual 13.4.2). */
export const isLocation = (path: string): boolean => LOCATION.test(path);

/** `location@geopoint` is accepted for `location.@geopoint`. */
export const fieldName = (written: string): string => written.replace(/([^.])@geopoint$/, '$1.@geopoint');

/** Path by which the point of a location is addressed. */
export const geopointField = (locationPath: string): string => `${locationPath}.@geopoint`;
