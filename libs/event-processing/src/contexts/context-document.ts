import { invalidParameter, invalidParameters } from '@orrery/core/http';
import { type FieldError, isShallow, MAX_DEPTH } from '@orrery/core/messages';
import { isObject, UNKEPT } from '../rules/rule-document.js';

/** What a client may set of an entry. */
export interface EntryDocument {
  document: Record<string, unknown>;
  tags: string[];
}

const MAX_TAGS = 100;
/** Positions of one geozone: each one costs in each evaluation. */
const MAX_POSITIONS = 10_000;

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= 256 && !UNKEPT.test(value);

/** @throws GENERIC_INVALID_PARAMETER_ERROR */
export function checkedKey(name: string, key: string): string {
  if (!isText(key)) throw invalidParameter(name, 'a key of 1 to 256 characters');
  return key;
}

/** @throws GENERIC_INVALID_PARAMETER_ERROR that lists every bad field. Members that are null count as absent. */
export function parseContext(body: unknown): EntryDocument {
  const errors: FieldError[] = [];
  const fields = bodyOf(body);
  const contextData = fields['contextData'] ?? null;
  if (contextData === null)
    errors.push({ field: 'contextData', expected: 'a primitive, an object or an array (required)' });
  else if (!isShallow(contextData)) errors.push({ field: 'contextData', expected: `at most ${MAX_DEPTH} levels` });
  const tags = parseTags(fields, errors);
  if (errors.length > 0) throw invalidParameters(errors);
  return { document: { contextData, ...given(fields, tags) }, tags };
}

/** @throws GENERIC_INVALID_PARAMETER_ERROR that lists every bad field. Members that are null count as absent. */
export function parseGeozone(body: unknown): EntryDocument {
  const errors: FieldError[] = [];
  const fields = bodyOf(body);
  const description = fields['description'] ?? undefined;
  if (description !== undefined && (typeof description !== 'string' || description.length > 4096))
    errors.push({ field: 'description', expected: 'a string of at most 4096 characters' });
  const properties = fields['properties'] ?? undefined;
  if (properties !== undefined && !(isObject(properties) && isShallow(properties)))
    errors.push({ field: 'properties', expected: 'an object' });
  const geometry = parsePolygon(fields['geometry'], errors);
  const tags = parseTags(fields, errors);
  if (errors.length > 0) throw invalidParameters(errors);
  return {
    document: {
      ...(description === undefined ? {} : { description }),
      geometry,
      ...given(fields, tags),
      ...(properties === undefined ? {} : { properties }),
    },
    tags,
  };
}

function bodyOf(body: unknown): Record<string, unknown> {
  if (!isObject(body)) throw invalidParameters([{ field: '', expected: 'a JSON object' }]);
  return body;
}

/** Tags are returned when there were any, even none. */
const given = (fields: Record<string, unknown>, tags: string[]): object => ((fields['tags'] ?? null) ? { tags } : {});

function parseTags(fields: Record<string, unknown>, errors: FieldError[]): string[] {
  const tags = fields['tags'] ?? [];
  if (Array.isArray(tags) && tags.length <= MAX_TAGS && tags.every(isText)) return tags;
  errors.push({ field: 'tags', expected: `a list of at most ${MAX_TAGS} strings of 1 to 256 characters` });
  return [];
}

function parsePolygon(geometry: unknown, errors: FieldError[]): unknown {
  const refuse = (field: string, expected: string): undefined => void errors.push({ field, expected });
  if (!isObject(geometry)) return refuse('geometry', 'an object with type Polygon and coordinates (required)');
  if (geometry['type'] !== 'Polygon') refuse('geometry.type', 'Polygon');
  const { coordinates } = geometry;
  const field = 'geometry.coordinates';
  if (!Array.isArray(coordinates) || coordinates.length === 0) return refuse(field, 'a list of rings');
  let positions = 0;
  for (const [i, ring] of (coordinates as unknown[]).entries()) {
    if (!Array.isArray(ring) || ring.length < 4) return refuse(`${field}[${i}]`, 'a ring of at least four positions');
    if ((positions += ring.length) > MAX_POSITIONS) return refuse(field, `at most ${MAX_POSITIONS} positions`);
    const wrong = (ring as unknown[]).findIndex((position) => !isPosition(position));
    if (wrong >= 0)
      return refuse(`${field}[${i}][${wrong}]`, 'a longitude from -180 to 180, then a latitude from -90 to 90');
    const [first, last] = [ring[0] as number[], ring.at(-1) as number[]];
    if (first[0] !== last[0] || first[1] !== last[1])
      return refuse(`${field}[${i}]`, 'a closed ring, whose last position is the first one');
  }
  return { type: 'Polygon', coordinates: coordinates as unknown };
}

const isPosition = (value: unknown): boolean =>
  Array.isArray(value) &&
  (value.length === 2 || value.length === 3) &&
  value.every((each) => typeof each === 'number' && Number.isFinite(each)) &&
  Math.abs(value[0] as number) <= 180 &&
  Math.abs(value[1] as number) <= 90;
