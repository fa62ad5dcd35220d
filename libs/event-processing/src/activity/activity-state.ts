/** Where a device is for a rule (manual 17.2.7.3). Times are epoch milliseconds. */
export interface ActivityState {
  state: 'UNKNOWN' | 'ACTIVE' | 'SILENT';
  /** Null when none has been seen. */
  lastActivity: number | null;
  /** From when on the time without activity counts. */
  quietSince: number;
  /** Never after the next alarm; null when there is none. */
  nextAlarm: number | null;
  reminders: number;
}

/** Of a rule, milliseconds. */
export interface SilentDelays {
  delayMs: number;
  /** Null when the event is sent once. */
  repeatMs: number | null;
}

/** What an event tells. */
export interface Alarm {
  state: 'ACTIVE' | 'SILENT';
  previousState: ActivityState['state'];
  reminders: number;
  /** When it was so: not when it was noticed. */
  timestamp: number;
}

export interface Step {
  next: ActivityState;
  alarms: Alarm[];
}

/** First and last of activities that follow each other closely. */
export interface Contact {
  first: number;
  last: number;
}

/**
 * An alarm waits this much longer, and activity so soon after the last one is not written: so what has been left out,
 * and what is still on its way through the stages, never makes a false alarm.
 */
export const TOLERANCE_MS = 5000;

/** Any shorter duration is handled as this one (manual 17.2.7.2). */
export const SHORTEST_MS = 600_000;

/** When the next alarm is due; null when none is. */
export const dueTime = ({ state, quietSince, nextAlarm }: ActivityState, { delayMs }: SilentDelays): number | null =>
  nextAlarm === null ? null : state === 'SILENT' ? nextAlarm : quietSince + delayMs;

/** A state that counts from this time on (manual 17.2.7.3). */
export const unknownSince = (since: number, enabled: boolean, { delayMs }: SilentDelays): ActivityState => ({
  state: 'UNKNOWN',
  lastActivity: null,
  quietSince: since,
  nextAlarm: enabled ? since + delayMs : null,
  reminders: 0,
});

/**
 * The device has been quiet until this time. Reminders that nobody could send in time are one: the count is of those that
 * were sent, and the next comes at its own time (manual 17.2.7.3, 17.2.7.5).
 */
export function quietUntil(state: ActivityState, delays: SilentDelays, until: number): Step {
  const due = dueTime(state, delays);
  const now = until - TOLERANCE_MS;
  if (due === null || due > now) return { next: { ...state, nextAlarm: due }, alarms: [] };
  const { repeatMs } = delays;
  const silent = state.state === 'SILENT';
  const missed = repeatMs === null ? 0 : Math.floor((now - due) / repeatMs);
  const timestamp = silent ? due + missed * (repeatMs ?? 0) : due;
  const reminders = silent ? state.reminders + 1 : 0;
  return {
    next: {
      ...state,
      state: 'SILENT',
      nextAlarm: repeatMs === null ? null : due + (missed + 1) * repeatMs,
      reminders,
    },
    alarms: [{ state: 'SILENT', previousState: state.state, reminders, timestamp }],
  };
}

/** The device has been active. What was due before has happened, also when nobody has looked in time. */
export function activeAt(state: ActivityState, delays: SilentDelays, { first, last }: Contact): Step {
  if (last <= state.quietSince) return { next: state, alarms: [] };
  const { next: before, alarms } = quietUntil(state, delays, first);
  if (before.state === 'SILENT')
    alarms.push({ state: 'ACTIVE', previousState: 'SILENT', reminders: 0, timestamp: first });
  return {
    next: {
      state: 'ACTIVE',
      lastActivity: last,
      quietSince: last,
      // The timer finds out that it is later now.
      nextAlarm: (before.state === 'ACTIVE' ? state.nextAlarm : null) ?? last + delays.delayMs,
      reminders: 0,
    },
    alarms,
  };
}
