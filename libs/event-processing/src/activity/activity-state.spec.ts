import { activeAt, type ActivityState, dueTime, quietUntil, TOLERANCE_MS, unknownSince } from './activity-state.js';

const MINUTE = 60_000;
const TEN = { delayMs: 10 * MINUTE, repeatMs: null };
const REPEATED = { delayMs: 10 * MINUTE, repeatMs: 20 * MINUTE };
const active = (at: number): ActivityState => activeAt(unknownSince(0, true, TEN), TEN, { first: at, last: at }).next;

describe('an activity state', () => {
  it('is silent when the delay is over, at that time, whenever somebody looks', () => {
    const state = active(MINUTE);
    expect(quietUntil(state, TEN, 11 * MINUTE + TOLERANCE_MS - 1).alarms).toEqual([]);
    for (const late of [TOLERANCE_MS, 90 * MINUTE]) {
      const { next, alarms } = quietUntil(state, TEN, 11 * MINUTE + late);
      expect(alarms).toEqual([{ state: 'SILENT', previousState: 'ACTIVE', reminders: 0, timestamp: 11 * MINUTE }]);
      expect(quietUntil(next, TEN, 1000 * MINUTE)).toEqual({ next, alarms: [] });
    }
  });

  it('gives one reminder for those that nobody could send, and the next at its time', () => {
    const { next: silent } = quietUntil(active(MINUTE), REPEATED, 12 * MINUTE);
    expect(dueTime(silent, REPEATED)).toBe(31 * MINUTE);
    const { next, alarms } = quietUntil(silent, REPEATED, 100 * MINUTE);
    expect(alarms).toEqual([{ state: 'SILENT', previousState: 'SILENT', reminders: 1, timestamp: 91 * MINUTE }]);
    expect([next.reminders, dueTime(next, REPEATED)]).toEqual([1, 111 * MINUTE]);
  });

  it('that was silent between two activities tells so, although both are read at once', () => {
    const { next, alarms } = activeAt(active(MINUTE), REPEATED, { first: 15 * MINUTE, last: 16 * MINUTE });
    expect(alarms).toEqual([
      { state: 'SILENT', previousState: 'ACTIVE', reminders: 0, timestamp: 11 * MINUTE },
      { state: 'ACTIVE', previousState: 'SILENT', reminders: 0, timestamp: 15 * MINUTE },
    ]);
    expect(next).toMatchObject({ state: 'ACTIVE', quietSince: 16 * MINUTE, nextAlarm: 26 * MINUTE });
  });

  it('is not changed by activity that came before what is known', () => {
    const state = active(5 * MINUTE);
    expect(activeAt(state, TEN, { first: MINUTE, last: 5 * MINUTE })).toEqual({ next: state, alarms: [] });
    const { next } = quietUntil(state, TEN, 20 * MINUTE);
    // A message that was on its way for long ends the silence all the same.
    expect(activeAt(next, TEN, { first: 14 * MINUTE, last: 14 * MINUTE }).alarms).toMatchObject([{ state: 'ACTIVE' }]);
  });

  it('moves its next alarm only when somebody looks, so that activity moves no entry of an index', () => {
    const state = active(MINUTE);
    const { next } = activeAt(state, TEN, { first: 2 * MINUTE, last: 9 * MINUTE });
    expect([next.nextAlarm, dueTime(next, TEN)]).toEqual([11 * MINUTE, 19 * MINUTE]);
    const looked = quietUntil(next, TEN, 12 * MINUTE);
    expect([looked.next.nextAlarm, looked.alarms]).toEqual([19 * MINUTE, []]);
  });
});
