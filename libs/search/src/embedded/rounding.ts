import { Temporal } from 'temporal-polyfill';
import type { CalendarUnit } from '../dsl/index.js';
import { type GroupKey, millisecondsOf } from './sql.js';

const FIXED_IN_UTC: Partial<Record<CalendarUnit, number>> = {
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
};
const WITHIN_A_DAY: readonly CalendarUnit[] = ['second', 'minute', 'hour'];
/** Milliseconds, of an interval that PostgreSQL counts exactly. */
const LONGEST_BIN = 1e12;
const MONTHS: Partial<Record<CalendarUnit, number>> = { month: 1, quarter: 3, year: 12 };

/** Where the buckets of a date_histogram begin: in SQL for documents, here for the empty ones between them. Milliseconds. */
export class DateRounding {
  private readonly milliseconds: number | undefined;
  // The same keys come in the buckets of many parents, and time zones take their time.
  private readonly following = new Map<number, number>();

  constructor(
    private readonly interval: CalendarUnit | number,
    private readonly offset: number,
    private readonly zone: string,
  ) {
    if (typeof interval === 'number') this.milliseconds = interval;
    else if (zone === 'UTC') this.milliseconds = FIXED_IN_UTC[interval];
  }

  /** Whether the next bucket is known by the calendar of the zone alone, which takes long. */
  get isOfCalendar(): boolean {
    return this.milliseconds === undefined
      ? !WITHIN_A_DAY.includes(this.interval as CalendarUnit)
      : this.zone !== 'UTC';
  }

  /** `zoneOf` gives an expression of the time zone, when it is needed. */
  sql(column: string, zoneOf: () => string): GroupKey {
    const shifted = this.offset === 0 ? column : `(${column} - ${this.offset} * interval '1 ms')`;
    const back = this.offset === 0 ? '' : ` + ${this.offset}`;
    const ms = this.milliseconds;
    if (ms !== undefined && this.zone === 'UTC') {
      if (ms > LONGEST_BIN) return { group: `floor(${millisecondsOf(shifted)} / ${ms}) * ${ms}${back}` };
      // From the one that holds the beginning of 1970: the offset itself may be far away.
      const origin = ((this.offset % ms) + ms) % ms;
      const group = `date_bin('${ms / 1000} seconds', ${column}, to_timestamp(${origin / 1000}))`;
      return { group, shown: millisecondsOf(group) };
    }
    const zone = zoneOf();
    const local = `(${shifted} AT TIME ZONE ${zone})`;
    if (typeof this.interval === 'number') {
      // Of local time, so that days of 24 hours begin at midnight.
      const group = `floor(${millisecondsOf(local)} / ${this.interval})`;
      const start = `((timestamp 'epoch' + ${group} * ${this.interval} * interval '1 ms') AT TIME ZONE ${zone})`;
      return { group, shown: `${millisecondsOf(start)}${back}` };
    }
    // Hours of a night when clocks go back are two of the same name: what has passed of the hour is taken off.
    if (WITHIN_A_DAY.includes(this.interval)) {
      const group = `(${shifted} - (${local} - date_trunc('${this.interval}', ${local})))`;
      return { group, shown: `${millisecondsOf(group)}${back}` };
    }
    const group = `date_trunc('${this.interval}', ${local})`;
    return { group, shown: `${millisecondsOf(`(${group} AT TIME ZONE ${zone})`)}${back}` };
  }

  /** Where an extended bound is: as Elasticsearch, it is rounded before the offset is added. */
  floor(at: number): number {
    if (this.milliseconds !== undefined && this.zone === 'UTC')
      return Math.floor(at / this.milliseconds) * this.milliseconds + this.offset;
    const date = Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(this.zone);
    return this.start(date).epochMilliseconds + this.offset;
  }

  next(key: number): number {
    if (this.milliseconds !== undefined && this.zone === 'UTC') return key + this.milliseconds;
    let next = this.following.get(key);
    if (next === undefined) this.following.set(key, (next = this.zonedNext(key)));
    return next;
  }

  private zonedNext(key: number): number {
    const date = Temporal.Instant.fromEpochMilliseconds(key - this.offset).toZonedDateTimeISO(this.zone);
    if (typeof this.interval === 'number') {
      const next = date.toPlainDateTime().add({ milliseconds: this.interval }).toZonedDateTime(this.zone);
      // After clocks have changed within an interval, buckets begin where they would have begun without.
      const aligned = this.start(next).epochMilliseconds + this.offset;
      return Math.max(aligned > key ? aligned : next.epochMilliseconds + this.offset, key + 1);
    }
    if (WITHIN_A_DAY.includes(this.interval)) return key + FIXED_IN_UTC[this.interval]!;
    const months = MONTHS[this.interval];
    const step = months === undefined ? { days: this.interval === 'week' ? 7 : 1 } : { months };
    return this.start(date.add(step)).epochMilliseconds + this.offset;
  }

  private start(date: Temporal.ZonedDateTime): Temporal.ZonedDateTime {
    if (typeof this.interval === 'number') {
      const local = date.toPlainDateTime().toZonedDateTime('UTC').epochMilliseconds;
      return Temporal.Instant.fromEpochMilliseconds(Math.floor(local / this.interval) * this.interval)
        .toZonedDateTimeISO('UTC')
        .toPlainDateTime()
        .toZonedDateTime(this.zone);
    }
    switch (this.interval) {
      case 'year':
        return date.with({ month: 1, day: 1 }).startOfDay();
      case 'quarter':
        return date.with({ month: date.month - ((date.month - 1) % 3), day: 1 }).startOfDay();
      case 'month':
        return date.with({ day: 1 }).startOfDay();
      case 'week':
        return date.subtract({ days: date.dayOfWeek - 1 }).startOfDay();
      case 'day':
        return date.startOfDay();
      default:
        return date.round({ smallestUnit: this.interval, roundingMode: 'floor' });
    }
  }
}
