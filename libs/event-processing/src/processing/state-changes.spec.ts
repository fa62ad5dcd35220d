import { Database } from '@orrery/core/database';
import type { StateChangeEvent } from '../contract.js';
import { eventProcessing } from '../index.js';
import { ROOT, type RuleBackend, type RuleTenant, startRuleBackend } from '../testing/rule-backend.js';
import { removeLeftovers } from './leftovers.js';

const TEMP = { var: 'value.temp' };
/** Worked example of 17.2.6.5. */
const RANGES = { if: [{ '<': [TEMP, 0] }, 'cold', { '<=': [TEMP, 100] }, 'normal', 'hot'] };

let rules: RuleBackend;
let tenant: RuleTenant;

beforeAll(async () => {
  rules = await startRuleBackend([eventProcessing]);
});
afterAll(() => rules.stop());
beforeEach(() => {
  tenant = rules.newTenant();
});

const transitions = (events: StateChangeEvent[]): unknown[] =>
  events.map(({ previousState, newState }) => [previousState, newState]);
const sendAll = async (temps: number[], source = 'd'): Promise<void> => {
  for (const value of temps) await tenant.temp(value, source);
};

describe('state processing', () => {
  it('STP-002 applies to the messages that pass the filter', async () => {
    await tenant.state(
      { var: 'value.level' },
      { filterPredicate: { '==': [{ var: 'value.type' }, 'daily'] }, stateKeyPath: 'metadata.source' },
    );
    const all = await tenant.state({ var: 'value.level' });
    await tenant.send('d', { value: { type: 'hourly', level: 1 } });
    await tenant.send('d', { value: { type: 'daily', level: 2 } });
    const changes = await tenant.changes();
    expect(transitions(changes.filter(({ stateProcessingRuleId }) => stateProcessingRuleId === all))).toEqual([
      [null, 1],
      [1, 2],
    ]);
    expect(transitions(changes.filter(({ stateProcessingRuleId }) => stateProcessingRuleId !== all))).toEqual([
      [null, 2],
    ]);
  });

  it('STP-003 finds the key at its path, and skips messages without one', async () => {
    await tenant.state(RANGES);
    await tenant.state(RANGES, { stateKeyPath: 'metadata.source' });
    await tenant.state(RANGES, { stateKeyPath: '$.value.key' });
    await tenant.send(undefined, { streamId: 's1', value: { temp: 20 } });
    await tenant.send('a', { streamId: 's2', value: { temp: 20, key: { no: 'key' } } });
    await tenant.send(undefined, { streamId: 's1', value: { temp: 20, key: 7 } });
    await tenant.send(undefined, { streamId: 's1', value: { temp: 20, key: `\u0000 \ud83d ${'x'.repeat(10_000)}` } });
    const keys = (await tenant.changes()).map(({ stateKey }) => stateKey);
    expect(keys.toSorted()).toEqual(['s1', 's2', 'a', '7', `\u0000 \ud83d ${'x'.repeat(10_000)}`].toSorted());
  });

  it('STP-004 keeps the type of a state', async () => {
    await tenant.state({ var: 'value.state' });
    for (const state of ['hot', 3, true, 'true', false, 0, '', 1.5, '\u0000\ud83d', 'x'.repeat(2000)])
      await tenant.send('d', { value: { state } });
    expect((await tenant.changes()).map(({ newState }) => newState)).toEqual([
      'hot',
      3,
      true,
      'true',
      false,
      0,
      '',
      1.5,
      '\u0000\ud83d',
    ]);
  });

  it('STP-005 begins with a change from null', async () => {
    await tenant.state(RANGES);
    await tenant.temp(20, 'd');
    expect(await tenant.changes()).toEqual([
      expect.objectContaining({ previousState: null, newState: 'normal', stateKey: 'd' }),
    ]);
  });

  it('STP-006 tells of each change, and of nothing else', async () => {
    await tenant.state(RANGES);
    for (const oneByOne of [true, false]) {
      const source = `d${oneByOne}`;
      for (const value of [20, 30, 200, 201, -1]) {
        await tenant.temp(value, source);
        if (oneByOne) await rules.probe.settled();
      }
      const changes = (await tenant.changes()).filter(({ stateKey }) => stateKey === source);
      expect(transitions(changes)).toEqual([
        [null, 'normal'],
        ['normal', 'hot'],
        ['hot', 'cold'],
      ]);
    }
  });

  it('STP-007 keeps states per rule and key', async () => {
    const [one, two] = [await tenant.state(RANGES), await tenant.state({ '>': [TEMP, 50] })];
    await sendAll([20, 60], 's1');
    await sendAll([60, 200], 's2');
    const changes = await tenant.changes();
    const of = (rule: string, key: string): unknown[] =>
      transitions(changes.filter((each) => each.stateProcessingRuleId === rule && each.stateKey === key));
    expect(of(one, 's1')).toEqual([[null, 'normal']]);
    expect(of(two, 's1')).toEqual([[null, false], [false, true]]); // prettier-ignore
    expect(of(one, 's2')).toEqual([[null, 'normal'], ['normal', 'hot']]); // prettier-ignore
    expect(of(two, 's2')).toEqual([[null, true]]);
  });

  it('STP-008 has the ranges of the worked example', async () => {
    const streamId = 'urn:lo:nsid:dongle:00-14-22-01-23-45!temperature';
    await tenant.state(RANGES, { name: 'temperature state rule' });
    for (const value of [-1, 0, 100, 200])
      await tenant.send('urn:lo:nsid:mqtt:myTest', { streamId, model: 'temperatureDevice_v0', value: { temp: value } });
    await tenant.temp(100, 'exactly');
    const changes = await tenant.changes();
    expect(transitions(changes.filter(({ stateKey }) => stateKey === streamId))).toEqual([
      [null, 'cold'],
      ['cold', 'normal'],
      ['normal', 'hot'],
    ]);
    expect(transitions(changes.filter(({ stateKey }) => stateKey === 'exactly'))).toEqual([[null, 'normal']]);
    const stored = rules.probe.headers(tenant.id).map(({ stored: event }) => event!.rules['stateProcessingRule']);
    expect(stored[0]).toMatchObject({ stateKeyPath: 'streamId' });
  });

  it('JLG-011 is a hysteresis when the function says so', async () => {
    await tenant.state({
      if: [
        { and: [{ '!==': [{ currentstate: [] }, 'hot'] }, { '<': [80, TEMP, 100] }] },
        'normal',
        { '<': [TEMP, 0] },
        'cold',
        { '<': [TEMP, 80] },
        'normal',
        'hot',
      ],
    });
    for (const oneByOne of [true, false])
      for (const value of [20, 90, 120, 90, 79, -1]) {
        await tenant.temp(value, `d${oneByOne}`);
        if (oneByOne) await rules.probe.settled();
      }
    const changes = await tenant.changes();
    for (const key of ['dtrue', 'dfalse'])
      expect(transitions(changes.filter(({ stateKey }) => stateKey === key))).toEqual([
        [null, 'normal'],
        ['normal', 'hot'],
        ['hot', 'normal'],
        ['normal', 'cold'],
      ]);
  });

  it('is stopped by disabling the rule, goes on from the last state, and forgets the states of a deleted rule', async () => {
    const body = { stateKeyPath: 'streamId', stateFunction: RANGES };
    const rule = await tenant.state(RANGES);
    await tenant.temp(20, 'd');
    await rules.probe.settled();
    await tenant.change(`stateprocessing-rule/${rule}`, { ...body, enabled: false });
    await tenant.temp(-5, 'd');
    await rules.probe.settled();
    await tenant.change(`stateprocessing-rule/${rule}`, { ...body, enabled: true });
    await tenant.temp(200, 'd');
    expect(transitions(await tenant.changes())).toEqual([[null, 'normal'], ['normal', 'hot']]); // prettier-ignore
    const states = (): Promise<unknown[]> =>
      rules.backend.query('SELECT state FROM event_processing.states WHERE tenant_id = $1', [tenant.id]);
    expect(await states()).toEqual([{ state: '"hot"' }]);
    expect((await tenant.api.delete(`${ROOT}/stateprocessing-rule/${rule}`)).status).toBe(204);
    const database = await Database.connect({
      url: rules.backend.config.DATABASE_URL,
      schema: eventProcessing.schema!,
    });
    await removeLeftovers(database);
    await database.close();
    expect(await states()).toEqual([]);
  });

  it('tells of what happens to a device in the order of its messages, whatever rule it comes from', async () => {
    await tenant.state({ var: 'value.temp' });
    await tenant.state({ '+': [TEMP, 1000] });
    const matching = await tenant.match({ '>': [TEMP, 0] });
    await tenant.fires([matching]);
    await tenant.fires([matching], { firingType: 'ONCE', aggregationKeys: ['value.temp'] });
    const temps = Array.from({ length: 50 }, (_, i) => i + 1);
    await Promise.all(temps.map((value) => tenant.temp(value, 'd')));
    await rules.probe.settled();
    const order = rules.probe.events(tenant.id).map((event) => {
      const { value } = 'data' in event ? event.data : event.matchingContext.data;
      return (value as { temp: number }).temp;
    });
    expect(order).toEqual(temps.flatMap((value) => [value, value, value, value]));
  });
});
