import { store } from '@orrery/store';
import { eventually } from '@orrery/core/testing';
import { eventProcessing } from '../index.js';
import { HOT, type Json, ROOT, type RuleBackend, startRuleBackend, type RuleTenant } from '../testing/rule-backend.js';
import type { BacktestDto } from './backtest.dto.js';

let rules: RuleBackend;
let tenant: RuleTenant;
/** Arrival of the first message, epoch milliseconds. */
let start: number;

beforeAll(async () => {
  rules = await startRuleBackend([store, eventProcessing]);
});
afterAll(() => rules.stop());
beforeEach(() => {
  tenant = rules.newTenant();
  start = Date.now() - 3_600_000;
});

const at = (ms: number): string => new Date(start + ms).toISOString();

/** Sends the temperatures a second apart and waits until they are stored. @returns the ids of the messages. */
async function temps(values: number[], source = 'urn:lo:nsid:mqtt:a'): Promise<string[]> {
  const ids: string[] = [];
  for (const [i, temp] of values.entries())
    ids.push((await tenant.temp(temp, source, { arrived: start + i * 1000, timestamp: at(i * 1000) })).id);
  await eventually(async () => {
    const stored = await rules.backend.query('SELECT 1 FROM store.messages WHERE tenant_id = $1 AND id = ANY($2)', [
      tenant.id,
      ids,
    ]);
    return stored.length === ids.length;
  });
  return ids;
}

async function backtest(path: string, body: object = {}): Promise<BacktestDto> {
  const answer = await tenant.api.post<BacktestDto>(`${ROOT}/${path}/backtest`, { from: at(0), ...body });
  expect(answer).toMatchObject({ status: 200 });
  return answer.body;
}

const messagesOf = ({ events }: BacktestDto): string[] => events.map(({ messageId }) => messageId);

describe('a backtest', () => {
  it('of a firing rule tells the events that would have been, at the time of their messages', async () => {
    const ids = await temps([20, 100, 30, 120]);
    const matching = await tenant.match();
    const firing = await tenant.fires([matching], { enabled: false });
    const result = await backtest(`firing-rule/${firing}`);
    expect(result).toMatchObject({ messages: 4, complete: true, matched: 2, fired: 2, failed: 0, from: at(0) });
    expect(result.matches!.map(({ messageId }) => messageId)).toEqual([ids[1], ids[3]]);
    expect(messagesOf(result)).toEqual([ids[1], ids[3]]);
    expect(result.events[0]!.event).toMatchObject({
      type: 'matchingFired',
      version: 1,
      tenantId: tenant.id,
      timestamp: at(1000),
      firingRule: { id: firing },
      matchingContext: { matchingRule: { id: matching }, data: { type: 'dataMessage', value: { temp: 100 } } },
    });
  });

  it('does not fire, guard or change anything, whatever is in force', async () => {
    const matching = await tenant.match();
    const firing = await tenant.fires([matching], { firingType: 'ONCE' });
    const state = await tenant.state({ if: [HOT, 'hot', 'normal'] });
    const ids = await temps([100, 20, 100]);
    await eventually(async () => (await tenant.fired()).length === 1);
    const [guards, changes] = [await tenant.guards(), await tenant.changes()];
    expect([guards.length, changes.length]).toEqual([1, 3]);
    for (let i = 0; i < 2; i++) {
      // The guard that is in force is not the one of the backtest.
      expect(messagesOf(await backtest(`firing-rule/${firing}`))).toEqual([ids[0]]);
      expect((await backtest(`stateprocessing-rule/${state}`)).fired).toBe(3);
    }
    expect(await tenant.guards()).toEqual(guards);
    expect(await tenant.fired()).toHaveLength(1);
    expect(await tenant.changes()).toEqual(changes);
  });

  it('sleeps by the clock of the arrivals, for each aggregation key', async () => {
    const matching = await tenant.match();
    const sleeping = {
      firingType: 'SLEEP',
      sleepDuration: 'PT2S',
      aggregationKeys: ['metadata.source'],
      enabled: false,
    };
    const firing = await tenant.fires([matching], sleeping);
    const a = await temps([100, 100, 100, 100]);
    start += 500;
    const [b] = await temps([100], 'urn:lo:nsid:mqtt:b');
    start -= 500;
    const fired = messagesOf(await backtest(`firing-rule/${firing}`));
    expect(fired.toSorted()).toEqual([a[0], a[2], b].toSorted());
  });

  it('of a state processing rule starts without states and tells the changes', async () => {
    await temps([20, 100, 110, 30]);
    const state = await tenant.state({ if: [HOT, 'hot', 'normal'] }, { enabled: false });
    const { events, ...result } = await backtest(`stateprocessing-rule/${state}`);
    expect(result).toMatchObject({ messages: 4, fired: 3 });
    expect(result).not.toHaveProperty('matched');
    expect(events.map(({ event }) => [event['previousState'], event['newState'], event['timestamp']])).toEqual([
      [null, 'normal', at(0)],
      ['normal', 'hot', at(1000)],
      ['hot', 'normal', at(3000)],
    ]);
  });

  it('of a matching rule tells the matches, and the events of enabled firing rules', async () => {
    const ids = await temps([100, 20]);
    const matching = await tenant.match(HOT, { enabled: false });
    expect(await backtest(`matching-rule/${matching}`)).toMatchObject({ matched: 1, fired: 0, events: [] });
    await tenant.fires([matching]);
    const disabled = await tenant.fires([matching], { enabled: false });
    const result = await backtest(`matching-rule/${matching}`);
    expect(messagesOf(result)).toEqual([ids[0]]);
    expect(JSON.stringify(result)).not.toContain(disabled);
  });

  it('tries what a rule is to become, and leaves the rule as it is', async () => {
    const ids = await temps([20, 50, 100]);
    const matching = await tenant.match();
    const name = 'tried';
    const rule = { name, dataPredicate: { '>': [{ var: 'value.temp' }, 40] } };
    const result = await backtest(`matching-rule/${matching}`, { rule });
    expect(result.matches!.map(({ messageId }) => messageId)).toEqual(ids.slice(1));
    const { body } = await tenant.api.get<Json>(`${ROOT}/matching-rule/${matching}`);
    expect(body['dataPredicate']).toEqual(HOT);
    const bad = await tenant.api.post(`${ROOT}/matching-rule/${matching}/backtest`, {
      from: at(0),
      rule: { name, dataPredicate: { nope: [] } },
    });
    expect(bad).toMatchObject({
      status: 400,
      body: { details: [{ field: expect.stringContaining('dataPredicate') }] },
    });
  });

  it('keeps to its time and lists no more than the limit, but counts everything', async () => {
    const ids = await temps([100, 100, 100, 100]);
    const matching = await tenant.match();
    const range = { from: at(1000), to: at(3000), limit: 1 };
    const result = await backtest(`matching-rule/${matching}`, range);
    expect(result).toMatchObject({ messages: 2, matched: 2, from: at(1000), to: at(3000) });
    expect(result.matches!.map(({ messageId }) => messageId)).toEqual([ids[1]]);
    expect(await backtest(`matching-rule/${matching}`, { from: at(4000) })).toMatchObject({ messages: 0, matched: 0 });
  });

  it('evaluates with contexts, and tells which messages a rule could not be applied to', async () => {
    await tenant.provide('threshold', 50);
    const ids = await temps([60, 40]);
    const matching = await tenant.match({ '>': [{ var: 'value.temp' }, { ctx: 'threshold' }] });
    const found = await backtest(`matching-rule/${matching}`);
    expect(found.matches!.map(({ messageId }) => messageId)).toEqual([ids[0]]);
    const heavy = { reduce: [{ var: 'value.list' }, { some: [{ var: 'value.list' }, { '==': [1, 2] }] }, 0] };
    const { id } = await tenant.send('urn:lo:nsid:mqtt:a', {
      arrived: start + 5000,
      value: { list: Array.from({ length: 60_000 }, (_, i) => i) },
    });
    await eventually(async () => (await backtest(`matching-rule/${matching}`)).messages === 3);
    const failing = await tenant.match(heavy);
    const { failed, failures } = await backtest(`matching-rule/${failing}`);
    expect({ failed, failures }).toMatchObject({ failed: 1, failures: [{ ruleId: failing, messageId: id }] });
  });

  it('does not take stored events for messages', async () => {
    await tenant.fires([await tenant.match()]);
    await temps([100]);
    await tenant.fired();
    await eventually(async () => (await tenant.stored('event:urn:lo:nsid:mqtt:a')).length === 1);
    const all = await tenant.match({ '!': [false] });
    expect(await backtest(`matching-rule/${all}`)).toMatchObject({ messages: 1, matched: 1 });
  });

  it('reads as many pages as there are, beside the messages of others', async () => {
    const stranger = rules.newTenant();
    for (const { api } of [tenant, stranger, tenant, tenant]) {
      const bulk = Array.from({ length: 700 }, (_, i) => ({ streamId: 's', value: { temp: i } }));
      expect((await api.post('/api/v0/data/bulk', bulk)).status).toBe(202);
    }
    const matching = await tenant.match({ '<': [{ var: 'value.temp' }, 300] }, { enabled: false });
    const result = await eventually(async () => {
      const all = await backtest(`matching-rule/${matching}`, { limit: 1000 });
      return all.messages === 2100 && all;
    });
    expect(result).toMatchObject({ matched: 900, complete: true });
    expect(new Set(result.matches!.map(({ messageId }) => messageId)).size).toBe(900);
  });

  it('runs one at a time for an account', async () => {
    const matching = await tenant.match();
    await temps([100]);
    const path = `${ROOT}/matching-rule/${matching}/backtest`;
    const answers = await Promise.all(Array.from({ length: 5 }, () => tenant.api.post(path, { from: at(0) })));
    const statuses = answers.map(({ status }) => status);
    expect(statuses).toContain(200);
    expect(statuses.filter((status) => status !== 200 && status !== 409)).toEqual([]);
    expect(await backtest(`matching-rule/${matching}`)).toMatchObject({ matched: 1 });
  });

  it('refuses a time, a limit or a body that is none, and the rules and messages of others', async () => {
    const matching = await tenant.match();
    const path = `${ROOT}/matching-rule/${matching}/backtest`;
    for (const [body, field] of [
      [{}, 'from'],
      [{ from: 'yesterday' }, 'from'],
      [{ from: at(0), to: 7 }, 'to'],
      [{ from: at(1000), to: at(0) }, 'from'],
      [{ from: at(0), limit: 0 }, 'limit'],
      [{ from: at(0), limit: '5' }, 'limit'],
      [{ from: at(0), limit: 1001 }, 'limit'],
      [[], ''],
    ] as Array<[object, string]>)
      expect(await tenant.api.post(path, body)).toMatchObject({ status: 400, body: { details: [{ field }] } });
    const stranger = rules.newTenant();
    expect((await stranger.api.post(path, { from: at(0) })).status).toBe(404);
    await temps([100]);
    const theirs = await stranger.match();
    const answer = await stranger.api.post(`${ROOT}/matching-rule/${theirs}/backtest`, { from: at(0) });
    expect(answer.body).toMatchObject({ messages: 0, matched: 0 });
    expect((await tenant.api.post(`${ROOT}/firing-rule/${matching}/backtest`, { from: at(0) })).status).toBe(404);
    expect((await tenant.api.post(`${ROOT}/firing-rule/nope/backtest`, { from: at(0) })).status).toBe(404);
  });
});
