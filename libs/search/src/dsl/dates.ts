import { Temporal } from 'temporal-polyfill';

type Part = 'year' | 'month' | 'day' | 'hour' | 'minute' | 'second' | 'millisecond';
const PARTS: readonly Part[] = ['year', 'month', 'day', 'hour', 'minute', 'second', 'millisecond'];

const NAMED: Readonly<Record<string, string>> = {
  date: 'yyyy-MM-dd',
  strict_date: 'yyyy-MM-dd',
  date_time: "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
  strict_date_time: "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
  date_hour_minute_second: "yyyy-MM-dd'T'HH:mm:ss",
  strict_date_hour_minute_second: "yyyy-MM-dd'T'HH:mm:ss",
  basic_date: 'yyyyMMdd',
  year_month: 'yyyy-MM',
  strict_year_month: 'yyyy-MM',
  year: 'yyyy',
  strict_year: 'yyyy',
};
const OPTIONAL = ['strict_date_optional_time', 'date_optional_time', 'strict_date_optional_time_nanos'];
const LETTERS: Readonly<Record<string, { part: Part; digits: number }>> = {
  yyyy: { part: 'year', digits: 4 },
  uuuu: { part: 'year', digits: 4 },
  MM: { part: 'month', digits: 2 },
  dd: { part: 'day', digits: 2 },
  HH: { part: 'hour', digits: 2 },
  mm: { part: 'minute', digits: 2 },
  ss: { part: 'second', digits: 2 },
  SSS: { part: 'millisecond', digits: 3 },
};
const OPTIONAL_TIME =
  /^(?<year>\d{4})(?:-(?<month>\d{2})(?:-(?<day>\d{2})(?:T(?:(?<hour>\d{2})(?::(?<minute>\d{2})(?::(?<second>\d{2})(?:[.,](?<fraction>\d{1,9}))?)?)?)?(?<zone>Z|[+-]\d{2}(?::?\d{2})?)?)?)?)?$/;
const YEAR_10000 = Date.UTC(10_000, 0);
const DEFAULT = 'strict_date_optional_time||epoch_millis';

const MAX_FORMAT = 250;

type Layout = { kind: 'optional' | 'epoch_millis' | 'epoch_second' | 'letters'; tokens: string[] };

const pad = (value: number, digits: number): string => String(value).padStart(digits, '0');

/** Reads and prints dates by a `format` of Elasticsearch: names, or letters of java.time, several joined by `||`. */
export class DateFormat {
  private constructor(private readonly tried: readonly Layout[]) {}

  /** How many ways of writing a date it knows. */
  get layouts(): number {
    return this.tried.length;
  }

  /** Undefined when the format is not one that is known. */
  static of(format: string = DEFAULT): DateFormat | undefined {
    if (format.length > MAX_FORMAT) return undefined;
    const layouts = format.split('||').map((each) => layoutOf(each.trim()));
    return layouts.every((layout) => layout !== undefined) ? new DateFormat(layouts as Layout[]) : undefined;
  }

  /** Milliseconds. With roundUp, a time that is not written is the end of the day. Undefined when the text is no date. */
  parse(text: string, zone: string, roundUp: boolean): number | undefined {
    for (const layout of this.tried) {
      const result = parseLayout(layout, text, zone, roundUp);
      if (result !== undefined) return result;
    }
    return undefined;
  }

  print(milliseconds: number, zone: string): string {
    const layout = this.tried[0]!;
    if (layout.kind === 'epoch_millis') return String(milliseconds);
    if (layout.kind === 'epoch_second') return String(milliseconds / 1000);
    if (layout.kind === 'optional' && zone === 'UTC' && milliseconds >= 0 && milliseconds < YEAR_10000)
      return new Date(milliseconds).toISOString();
    const date = zoned(milliseconds, zone);
    if (layout.kind === 'optional')
      return `${pad(date.year, 4)}-${pad(date.month, 2)}-${pad(date.day, 2)}T${pad(date.hour, 2)}:${pad(date.minute, 2)}:${pad(date.second, 2)}.${pad(date.millisecond, 3)}${printZone(date)}`;
    return layout.tokens
      .map((token) => {
        const letter = LETTERS[token];
        if (letter) return pad(date[letter.part], letter.digits);
        return token === 'XXX' ? printZone(date) : token.slice(1);
      })
      .join('');
  }
}

// Hours and minutes: those before there were time zones had seconds too.
const printZone = (date: Temporal.ZonedDateTime): string =>
  date.offsetNanoseconds === 0 ? 'Z' : date.offset.slice(0, 6);

export const zoned = (milliseconds: number, zone: string): Temporal.ZonedDateTime =>
  Temporal.Instant.fromEpochMilliseconds(milliseconds).toZonedDateTimeISO(zone);

/** A format whose names are replaced by the letters that they stand for. */
export const lettersOf = (format: string): string =>
  format
    .split('||')
    .map((each) => named(each.trim()) ?? each)
    .join('||');

const named = (format: string): string | undefined => (Object.hasOwn(NAMED, format) ? NAMED[format] : undefined);

/** Name of a time zone as Temporal and PostgreSQL take it; undefined when there is none of this name. */
export function timeZone(name: string): string | undefined {
  if (name === 'Z' || name === 'UTC') return 'UTC';
  if (name.length > 60) return undefined;
  try {
    return Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(name).timeZoneId;
  } catch {
    return undefined;
  }
}

function layoutOf(format: string): Layout | undefined {
  if (OPTIONAL.includes(format)) return { kind: 'optional', tokens: [] };
  if (format === 'epoch_millis' || format === 'epoch_second') return { kind: format, tokens: [] };
  const pattern = named(format) ?? format;
  if (pattern.length > 100) return undefined;
  // Runs of one letter, quoted text, any other single character; plain text is kept behind a "'".
  const tokens = (pattern.match(/([a-zA-Z])\1*|'[^']*'|[^a-zA-Z']/g) ?? []).map((token) =>
    token in LETTERS || token === 'XXX' ? token : /^[a-zA-Z]/.test(token) ? '' : `'${token.replaceAll("'", '')}`,
  );
  if (tokens.length === 0 || tokens.includes('')) return undefined;
  return { kind: 'letters', tokens };
}

function parseLayout(layout: Layout, text: string, zone: string, roundUp: boolean): number | undefined {
  if (layout.kind === 'epoch_millis') return /^-?\d{1,15}$/.test(text) ? Number(text) : undefined;
  if (layout.kind === 'epoch_second') return /^-?\d{1,12}$/.test(text) ? Number(text) * 1000 : undefined;
  if (layout.kind === 'optional') {
    const groups = OPTIONAL_TIME.exec(text)?.groups;
    if (!groups) return undefined;
    const parts: Partial<Record<Part, number>> = {};
    for (const part of PARTS) if (groups[part] !== undefined) parts[part] = Number(groups[part]);
    if (groups['fraction'] !== undefined) parts.millisecond = Number(groups['fraction'].padEnd(3, '0').slice(0, 3));
    return instant(parts, groups['zone'] ?? zone, roundUp);
  }
  const parts: Partial<Record<Part, number>> = {};
  let rest = text;
  let own = zone;
  for (const token of layout.tokens) {
    const letter = LETTERS[token];
    if (letter) {
      if (!new RegExp(`^\\d{${letter.digits}}`).test(rest)) return undefined;
      parts[letter.part] = Number(rest.slice(0, letter.digits));
      rest = rest.slice(letter.digits);
    } else if (token === 'XXX') {
      const found = /^(Z|[+-]\d{2}:\d{2})/.exec(rest);
      if (!found) return undefined;
      own = found[0];
      rest = rest.slice(own.length);
    } else {
      if (!rest.startsWith(token.slice(1))) return undefined;
      rest = rest.slice(token.length - 1);
    }
  }
  return rest === '' ? instant(parts, own, roundUp) : undefined;
}

function instant(parts: Partial<Record<Part, number>>, zone: string, roundUp: boolean): number | undefined {
  const name = timeZone(/^[+-]\d{4}$/.test(zone) ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone);
  if (name === undefined) return undefined;
  try {
    // As Elasticsearch: of a month or a year, it is the end of the first day.
    const late = { hour: 23, minute: 59, second: 59, millisecond: 999 };
    const { year = 1970, month = 1, day = 1 } = parts;
    const time = (part: 'hour' | 'minute' | 'second' | 'millisecond'): number =>
      parts[part] ?? (roundUp ? late[part] : 0);
    return new Temporal.PlainDateTime(
      year,
      month,
      day,
      time('hour'),
      time('minute'),
      time('second'),
      time('millisecond'),
    ).toZonedDateTime(name).epochMilliseconds;
  } catch {
    return undefined;
  }
}

const UNITS = {
  y: 'years',
  M: 'months',
  w: 'weeks',
  d: 'days',
  h: 'hours',
  H: 'hours',
  m: 'minutes',
  s: 'seconds',
} as const;
const MATH = /^(?:[+-]\d{1,9}[yMwdhHms]|\/[yMwdhHms])*$/;

const STEP = /[+-]\d+[yMwdhHms]|\/[yMwdhHms]/g;

/** Steps of date math in the text of a date, at most. */
export const mathSteps = (text: string): number => text.match(STEP)?.length ?? 0;

/**
 * A date of a query: milliseconds, a text of the format, `now`, or one of these two followed by date math (`now-1d/d`,
 * `2017-01-01||+1M/d`). With roundUp, rounding and a time that is not written go to the last millisecond.
 * Undefined when it is no date.
 */
export function parseDate(
  text: string,
  options: { now: number; zone: string; roundUp: boolean; format: DateFormat },
): number | undefined {
  let anchor: number | undefined;
  let math: string;
  if (text.startsWith('now')) {
    anchor = options.now;
    math = text.slice(3);
  } else {
    const bar = text.indexOf('||');
    math = bar < 0 ? '' : text.slice(bar + 2);
    anchor = options.format.parse(bar < 0 ? text : text.slice(0, bar), options.zone, options.roundUp && bar < 0);
  }
  if (anchor === undefined || math.length > 200 || !MATH.test(math)) return undefined;
  try {
    let date = zoned(anchor, options.zone);
    for (const [step] of math.matchAll(STEP)) {
      const unit = UNITS[step.at(-1) as keyof typeof UNITS];
      if (step.startsWith('/')) {
        date = startOf(date, unit);
        if (options.roundUp) date = date.add({ [unit]: 1 }).subtract({ milliseconds: 1 });
      } else date = date.add({ [unit]: Number(step.slice(0, -1)) });
    }
    const milliseconds = date.epochMilliseconds;
    // PostgreSQL's and JavaScript's dates end somewhere; no message is beyond.
    return Math.abs(milliseconds) <= 8.64e15 ? milliseconds : undefined;
  } catch {
    return undefined;
  }
}

function startOf(date: Temporal.ZonedDateTime, unit: (typeof UNITS)[keyof typeof UNITS]): Temporal.ZonedDateTime {
  switch (unit) {
    case 'years':
      return date.with({ month: 1, day: 1 }).startOfDay();
    case 'months':
      return date.with({ day: 1 }).startOfDay();
    case 'weeks':
      return date.subtract({ days: date.dayOfWeek - 1 }).startOfDay();
    case 'days':
      return date.startOfDay();
    default:
      return date.round({ smallestUnit: unit.slice(0, -1) as 'hour', roundingMode: 'floor' });
  }
}
