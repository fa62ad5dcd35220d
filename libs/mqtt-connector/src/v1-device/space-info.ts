import type { DeviceContext } from '@orrery/core/messages';

/** Where a device is, as its group and its properties say. */
export interface SpaceInfo {
  location: {
    /** Null without a static location. */
    coordinates: { lat: number; lng: number } | null;
    /** Minutes east of Greenwich. */
    utc_offset: number;
    name: string;
  };
  temperature_units: string;
  maintenance: boolean;
  name: string;
}

/** Zones lie between UTC-12 and UTC+14. */
const MOST_MINUTES = 14 * 60;

function utcOffset(text: string | undefined): number {
  const minutes = /^[+-]?\d{1,3}$/.test(text ?? '') ? Number(text) : 0;
  return Math.abs(minutes) <= MOST_MINUTES ? minutes : 0;
}

export function spaceInfo({ staticLocation, properties, group }: DeviceContext): SpaceInfo {
  const name = group.path === '/' ? group.path : group.path.slice(group.path.lastIndexOf('/') + 1);
  return {
    location: {
      coordinates: staticLocation ? { lat: staticLocation.lat, lng: staticLocation.lon } : null,
      utc_offset: utcOffset(properties['utc_offset']),
      name,
    },
    temperature_units: properties['temperature_units'] ?? 'celsius',
    maintenance: properties['maintenance'] === 'true',
    name,
  };
}

/** ISO 8601 with seconds and the offset. @param now epoch milliseconds */
export function localTime(now: number, offsetMinutes: number): string {
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0');
  const distance = Math.abs(offsetMinutes);
  const offset = `${offsetMinutes < 0 ? '-' : '+'}${two(distance / 60)}:${two(distance % 60)}`;
  return new Date(now + offsetMinutes * 60_000).toISOString().slice(0, 19) + offset;
}
