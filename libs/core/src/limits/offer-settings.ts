import { LIMITS, type LimitName, type LimitValues } from './limits.js';

/** A part of an offer, linked to a function of the platform (manual 21.2). */
export interface SettingsSection {
  content: Record<string, unknown>;
  /** 1 when the section is first set, one more with each change of its content. */
  revision: number;
}

/** What the offer and the options of a tenant make of it. Written by BSS rules alone. */
export type OfferSettings = Record<string, SettingsSection>;

/** Sections that switch the rate limiting of an interface off by `{"rateLimiting": false}` (manual 23.1). */
const RATE_SECTIONS = { http: 'http', mqtt: 'mqtt' } as const;

const isNumberOrNull = (value: unknown): value is number | null =>
  value === null || (typeof value === 'number' && Number.isFinite(value));

/** The limits that these settings change: below 0 is nothing at all. What is no number, and not null, changes nothing. */
export function limitsOf(settings: OfferSettings): LimitValues {
  const values: LimitValues = {};
  for (const [name, limit] of Object.entries(LIMITS)) {
    const { setting, rate } = limit as { setting?: string; rate?: keyof typeof RATE_SECTIONS };
    if (rate && settings[RATE_SECTIONS[rate]]?.content['rateLimiting'] === false) values[name as LimitName] = null;
    else if (setting) {
      const [section, parameter] = setting.split('.') as [string, string];
      const value = settings[section]?.content[parameter];
      if (isNumberOrNull(value)) values[name as LimitName] = value === null ? null : Math.max(value, 0);
    }
  }
  return values;
}

/** Sections whose function the tenant may not use: those with `{"enabled": false}`. */
export const disabledSections = (settings: OfferSettings): string[] =>
  Object.entries(settings)
    .filter(([, { content }]) => content['enabled'] === false)
    .map(([section]) => section);

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Server phone numbers that the tenant may send SMS from, in their order: `smsconnect.connectivities` (manual 21.4.2). */
export function smsNumbersOf(settings: OfferSettings): string[] {
  const numbers = settings['smsconnect']?.content['connectivities'];
  if (!isObject(numbers)) return [];
  return Object.keys(numbers).filter((number) => {
    const connectivity = numbers[number];
    return isObject(connectivity) && connectivity['enabled'] !== false;
  });
}

/** Contents of sections by their names. */
export type SectionContents = Record<string, Record<string, unknown>>;

/** Settings whose sections are set for the first time. */
export const newSettings = (contents: SectionContents): OfferSettings =>
  Object.fromEntries(Object.entries(contents).map(([section, content]) => [section, { content, revision: 1 }]));

/** An offer that limits nothing that an offer can, except how long data is kept. */
export const UNLIMITED_CONTENTS = unlimitedContents();
export const UNLIMITED_OFFER: LimitValues = limitsOf(newSettings(UNLIMITED_CONTENTS));

function unlimitedContents(): SectionContents {
  const sections: SectionContents = {};
  for (const section of Object.values(RATE_SECTIONS)) sections[section] = { rateLimiting: false };
  for (const [name, limit] of Object.entries(LIMITS)) {
    const { setting } = limit as { setting?: string };
    if (!setting || name === 'dataDays' || name === 'searchDays') continue;
    const [section, parameter] = setting.split('.') as [string, string];
    (sections[section] ??= { enabled: true })[parameter] = null;
  }
  // The numbers of the manual's examples (5.5.2.1 and 21.4.2).
  sections['smsconnect']!['connectivities'] = { 20259: { enabled: true }, 20406: { enabled: true } };
  return sections;
}
