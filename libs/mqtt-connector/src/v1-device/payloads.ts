import { describeErrors, normalizeTimestamp, parsePublished, type PublishedMessage } from '@orrery/core/messages';
import { type ChangeOfDevice, LICENSE_STATES, type LicenseReport } from '@orrery/device-manager/contract';
import { type BadData, parseJson } from '../data/published-data.js';

// What devices publish, checked in itself.

type Json = Record<string, unknown>;

const STATUSES = ['online', 'offline', 'error'];
const COMMAND_STATUSES = ['done', 'in_progress', 'error'];

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export function parseObject(payload: Buffer): { input: Json } | BadData {
  const json = parseJson(payload);
  if ('problem' in json) return json;
  return isObject(json.input) ? { input: json.input } : { problem: 'expected a JSON object' };
}

/** A data message, and whether it begins the current state of the device anew. */
export interface Telemetry {
  message: PublishedMessage;
  override: boolean;
}

/** Reads `{status, timestamp, telemetries, message, override}`: telemetries, message and status are the value. */
export function readTelemetry(payload: Buffer): Telemetry | BadData {
  const json = parseObject(payload);
  if ('problem' in json) return json;
  const { status, timestamp = null, telemetries = null, message = null, override = null } = json.input;
  const problems: string[] = [];
  if (!STATUSES.includes(status as string)) problems.push(`status: expected one of ${STATUSES.join(', ')}`);
  if (timestamp !== null && normalizeTimestamp(timestamp) === undefined)
    problems.push('timestamp: expected an ISO 8601 date and time');
  if (telemetries !== null && !isObject(telemetries)) problems.push('telemetries: expected a JSON object');
  if (message !== null && typeof message !== 'string') problems.push('message: expected a string');
  if (override !== null && typeof override !== 'boolean') problems.push('override: expected true or false');
  if (problems.length > 0) return { problem: problems.join('; ') };
  const value = { ...(telemetries as Json | null), ...(message === null ? {} : { message }), status };
  const published = parsePublished({ timestamp, value }, payload.length);
  return Array.isArray(published)
    ? { problem: describeErrors(published) }
    : { message: published, override: override === true };
}

/** Reads `{firmware_version, name}`. */
export function readUpdate(payload: Buffer): Pick<ChangeOfDevice, 'firmwareVersion' | 'name'> | BadData {
  const json = parseObject(payload);
  if ('problem' in json) return json;
  const { firmware_version: firmwareVersion, name, ...unknown } = json.input;
  const wrong = Object.keys(unknown).map((field) => `${field.slice(0, 64)}: unknown field`);
  for (const [field, value] of Object.entries({ firmware_version: firmwareVersion, name }))
    if (value !== undefined && typeof value !== 'string') wrong.push(`${field}: expected a string`);
  if (wrong.length > 0) return { problem: wrong.slice(0, 10).join('; ') };
  return {
    ...(firmwareVersion === undefined ? {} : { firmwareVersion: firmwareVersion as string }),
    ...(name === undefined ? {} : { name: name as string }),
  };
}

/** Reads `{property, value}`. What is no string is kept as its JSON text. */
export function readSetting(payload: Buffer): { property: { name: string; value: string } } | BadData {
  const json = parseObject(payload);
  if ('problem' in json) return json;
  const { property: name, value = null } = json.input;
  if (typeof name !== 'string' || name === '') return { problem: 'property: expected a string' };
  if (value === null) return { problem: 'value: expected' };
  return { property: { name, value: typeof value === 'string' ? value : JSON.stringify(value) } };
}

/** Reads `{id, state, error}`. */
export function readLicenseReport(payload: Buffer): Pick<LicenseReport, 'id' | 'state' | 'error'> | BadData {
  const json = parseObject(payload);
  if ('problem' in json) return json;
  const { id, state, error = null } = json.input;
  const known = LICENSE_STATES.find((each) => each === state);
  if (typeof id !== 'string') return { problem: 'id: expected the id of a license' };
  if (known === undefined) return { problem: `state: expected one of ${LICENSE_STATES.join(', ')}` };
  if (error !== null && typeof error !== 'string') return { problem: 'error: expected a string' };
  return { id, state: known, ...(error === null ? {} : { error }) };
}

/** Reads `{id, status, message}`. */
export function readCommandAnswer(payload: Buffer): { id: string } | BadData {
  const json = parseObject(payload);
  if ('problem' in json) return json;
  const { id, status } = json.input;
  if (typeof id !== 'string') return { problem: 'id: expected the id of a command' };
  if (!COMMAND_STATUSES.includes(status as string))
    return { problem: `status: expected one of ${COMMAND_STATUSES.join(', ')}` };
  return { id };
}
