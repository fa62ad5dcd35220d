import { randomUUID } from 'node:crypto';
import { Database } from '@orrery/core/database';
import { eventually } from '@orrery/core/testing';
import { store } from '@orrery/store';
import { eventProcessing } from '../index.js';
import {
  HOT,
  ROOT,
  type RuleBackend,
  type RuleTenant,
  startRuleBackend,
  streamsOf,
  tempsOf,
} from '../testing/rule-backend.js';
import { removeLeftovers } from './leftovers.js';

const GUARDS = `${ROOT}/firing-guard`;
const MINUTE = 60_000;

let rules: RuleBackend;
let tenant: RuleTenant;

beforeAll(async () => {
  rules = await startRuleBackend([store, eventProcessing]);
});
afterAll(() => rules.stop());
beforeEach(() => {
  tenant = rules.newTenant();
});

describe('matching rules', () => {
  it('SEP-002 are evaluated on each message while they are enabled', async () => {
    const rule = await tenant.match(HOT, { name: 'hot' });
    await tenant.fires([rule]);
    await tenant.temp(100);
    await tenant.temp(99);
    expect(tempsOf(await tenant.fired())).toEqual([100]);
    await tenant.change(`matching-rule/${rule}`, { name: 'hot', enabled: false, dataPredicate: HOT });
    await tenant.temp(100);
    expect(await tenant.fired()).toHaveLength(1);
    await tenant.change(`matching-rule/${rule}`, {
      name: 'hot',
      enabled: true,
      dataPredicate: { '>': [{ var: 'value.temp' }, 200] },
    });
    await tenant.temp(101);
    await tenant.temp(201);
    expect(tempsOf(await tenant.fired())).toEqual([100, 201]);
  });

  it('SEP-006 lead to the firing rules that name one of them', async () => {
    const [a, b, c] = [
      await tenant.match({ '==': [{ var: 'value.temp' }, 1] }),
      await tenant.match({ '==': [{ var: 'value.temp' }, 2] }),
      await tenant.match({ '==': [{ var: 'value.temp' }, 3] }),
    ];
    await tenant.fires([a, b, randomUUID()]);
    await tenant.fires([c], { enabled: false });
    await tenant.temp(2);
    await tenant.temp(3);
    const events = await tenant.fired();
    expect(tempsOf(events)).toEqual([2]);
    expect(events[0]!.matchingContext.matchingRule.id).toBe(b);
  });

  it('apply to the messages of their tenant alone', async () => {
    await tenant.fires([await tenant.match()]);
    const other = rules.newTenant();
    await other.fires([await other.match({ '==': [{ ctx: 'secret' }, 1] })]);
    await tenant.provide('secret', 1);
    await tenant.temp(100);
    await other.temp(100);
    expect(await tenant.fired()).toHaveLength(1);
    expect(await other.fired()).toEqual([]);
  });

  it('CTX-004 read the context when they are evaluated', async () => {
    await tenant.fires([await tenant.match({ '>': [{ var: 'value.NO2' }, { ctx: 'no2-alert-threshold-1' }] })]);
    const send = (): Promise<unknown> => tenant.send('d', { value: { NO2: 350 } });
    await tenant.provide('no2-alert-threshold-1', 400);
    await send();
    expect(await tenant.fired()).toHaveLength(0);
    for (let i = 1; i <= 10; i++) {
      await tenant.provide('no2-alert-threshold-1', 300);
      await send();
      expect(await tenant.fired()).toHaveLength(i);
      await tenant.provide('no2-alert-threshold-1', 400);
      await send();
      expect(await tenant.fired()).toHaveLength(i);
    }
  });

  it('SEP-018 are not evaluated on the events that they lead to', async () => {
    const matching = await tenant.match({ '==': [1, 1] }, { name: 'everything' });
    const firing = await tenant.fires([matching], { name: 'always' });
    const header = await tenant.send('urn:lo:nsid:mqtt:a', { value: { temp: 1 } });
    const [event] = await tenant.fired();
    expect(event).toEqual({
      type: 'matchingFired',
      version: 1,
      tenantId: tenant.id,
      timestamp: expect.stringMatching(/Z$/),
      firingRule: { id: firing, name: 'always' },
      matchingContext: {
        tenantId: tenant.id,
        timestamp: expect.stringMatching(/Z$/),
        matchingRule: { id: matching, name: 'everything' },
        data: expect.not.objectContaining({ id: header.id }),
      },
    });
    expect(event!.matchingContext.data).not.toHaveProperty('created');
    await eventually(async () => (await tenant.stored('event:urn:lo:nsid:mqtt:a')).length === 1);
    expect(await tenant.fired()).toHaveLength(1);
  });
});

describe('firing rules', () => {
  const SOURCE = { aggregationKeys: ['metadata.source'] };

  it('SEP-007 fire for each match with ALWAYS, without a guard', async () => {
    await tenant.fires([await tenant.match()], SOURCE);
    for (const value of [100, 101, 102]) await tenant.temp(value);
    expect(tempsOf(await tenant.fired())).toEqual([100, 101, 102]);
    expect(await tenant.guards()).toEqual([]);
  });

  it('SEP-008 fire once with ONCE, also for messages that come together', async () => {
    await tenant.fires([await tenant.match()], { firingType: 'ONCE', ...SOURCE });
    await Promise.all([100, 101, 102].map((value) => tenant.temp(value)));
    await rules.probe.settled();
    await tenant.temp(103);
    expect(tempsOf(await tenant.fired())).toEqual([100]);
  });

  it('SEP-009 tell firing contexts apart by the values of their keys', async () => {
    const rule = await tenant.match();
    await tenant.fires([rule], { firingType: 'ONCE', ...SOURCE });
    const both = await tenant.fires([rule], { firingType: 'ONCE', aggregationKeys: ['metadata.source', 'streamId'] });
    for (const [source, streamId] of [
      ['A', 's1'],
      ['A', 's2'],
      ['A', 's1'],
      ['B', 's3'],
      ['B', 's3'],
    ] as const)
      await tenant.temp(100, source, { streamId });
    const events = await tenant.fired();
    expect(streamsOf(events.filter(({ firingRule }) => firingRule.id !== both))).toEqual(['s1', 's3']);
    expect(streamsOf(events.filter(({ firingRule }) => firingRule.id === both))).toEqual(['s1', 's2', 's3']);
  });

  it('SEP-010 have a single context without keys, and null for a key that is missing', async () => {
    const rule = await tenant.match();
    const whole = await tenant.fires([rule], { firingType: 'ONCE' });
    const missing = await tenant.fires([rule], { firingType: 'ONCE', aggregationKeys: ['value.absent'] });
    await tenant.temp(100, 'A');
    await tenant.temp(100, 'B');
    const events = await tenant.fired();
    expect(events.map(({ firingRule }) => firingRule.id).toSorted()).toEqual([whole, missing].toSorted());
    const criteria = (await tenant.guards()).map(({ guardCriteria }) => guardCriteria);
    expect(criteria).toHaveLength(2);
    expect(criteria).toContainEqual([{ keyPath: 'value.absent', value: null }]);
    expect(criteria).toContainEqual([]);
  });

  it('SEP-011 sleep after an event, by the time at which messages arrived', async () => {
    await tenant.fires([await tenant.match()], { firingType: 'SLEEP', sleepDuration: 'PT2M', ...SOURCE });
    const from = Date.now() - 10 * MINUTE;
    for (const [source, oneByOne] of [
      ['slow', true],
      ['fast', false],
    ] as const) {
      for (const second of [0, 10, 119, 121]) {
        await tenant.temp(100 + second, source, { arrived: from + second * 1000 });
        if (oneByOne) await rules.probe.settled();
      }
      const events = (await tenant.fired()).filter(
        ({ matchingContext }) => matchingContext.data['streamId'] === source,
      );
      expect(tempsOf(events)).toEqual([100, 221]);
    }
    // What has expired is no longer seen.
    expect(await tenant.guards()).toEqual([]);
    await tenant.temp(100, 'slow');
    const [guard] = await eventually(async () => {
      const found = await tenant.guards();
      return found.length === 1 && found;
    });
    const { created, expireAt } = guard!;
    expect(Date.parse(expireAt!) - Date.parse(created)).toBe(2 * MINUTE);
  });

  it('SEP-012 fire again when their guard is removed', async () => {
    const matching = await tenant.match();
    const firing = await tenant.fires([matching], { firingType: 'ONCE', ...SOURCE });
    await tenant.temp(100, 'A');
    await tenant.temp(100, 'B');
    expect(await tenant.fired()).toHaveLength(2);
    const found = await tenant.guards();
    const ofA = found.find(({ guardCriteria }) => guardCriteria[0]!.value === 'A')!;
    expect(found).toHaveLength(2);
    expect(ofA).toEqual({
      id: expect.any(String),
      tenantId: tenant.id,
      firingRuleId: firing,
      guardCriteria: [{ keyPath: 'metadata.source', value: 'A' }],
      matchingContext: {
        tenantId: tenant.id,
        timestamp: expect.any(String),
        matchingRule: expect.objectContaining({ id: matching, enabled: true, dataPredicate: HOT }),
        data: expect.objectContaining({ streamId: 'A', value: { temp: 100 } }),
      },
      created: expect.any(String),
    });
    expect((await tenant.api.get(`${GUARDS}/${ofA.id}`)).body).toEqual(ofA);
    expect((await rules.newTenant().api.delete(`${GUARDS}/${ofA.id}`)).status).toBe(404);
    expect((await tenant.api.delete(`${GUARDS}/${ofA.id}`)).status).toBe(204);
    expect((await tenant.api.delete(`${GUARDS}/${ofA.id}`)).status).toBe(404);
    expect((await tenant.api.get(`${GUARDS}/${ofA.id}`)).status).toBe(404);
    await tenant.temp(101, 'A');
    await tenant.temp(101, 'B');
    expect(tempsOf(await tenant.fired())).toEqual([100, 100, 101]);
  });

  it('searches and removes guards by their values', async () => {
    const rule = await tenant.match();
    const firing = await tenant.fires([rule], {
      firingType: 'ONCE',
      aggregationKeys: ['metadata.source', 'value.kind'],
    });
    const other = await tenant.fires([rule], { firingType: 'ONCE' });
    for (const [source, kind] of [
      ['A', 'x'],
      ['A', 'nul \u0000 \ud83d'],
      ['B', 'x'],
    ] as const)
      await tenant.send(source, { value: { temp: 100, kind } });
    await rules.probe.settled();
    const search = async (selectionCriteria?: object[], firingRuleId = firing): Promise<number> => {
      const { status, body } = await tenant.api.post<unknown[]>(`${GUARDS}/search`, {
        firingRuleId,
        selectionCriteria,
      });
      expect(status).toBe(200);
      return body.length;
    };
    const source = (value: string): object => ({ keyPath: 'metadata.source', value });
    const kind = (value: string): object => ({ keyPath: 'value.kind', value });
    expect(await search()).toBe(3);
    expect(await search([source('A')])).toBe(2);
    expect(await search([kind('x'), source('A')])).toBe(1);
    expect(await search([kind('nul \u0000 \ud83d')])).toBe(1);
    expect(await search([kind('A')])).toBe(0);
    expect(await search([], other)).toBe(1);
    expect((await tenant.api.get<unknown[]>(`${GUARDS}?firingRuleId=${firing}&size=2`)).body).toHaveLength(2);
    for (const body of [{}, { firingRuleId: 'x' }, { firingRuleId: firing, selectionCriteria: [{}] }])
      expect((await tenant.api.post(`${GUARDS}/search`, body)).status).toBe(400);
    expect((await tenant.api.delete(GUARDS)).status).toBe(400);
    expect((await tenant.api.delete(GUARDS, { firingRuleId: firing, selectionCriteria: [source('A')] })).body).toBe(2);
    expect(await search()).toBe(1);
    expect(await search([], other)).toBe(1);
  });

  it('lose their guards when they fire in another way, and when they are deleted', async () => {
    const rule = await tenant.match();
    const body = { name: 'n', enabled: true, matchingRuleIds: [rule], firingType: 'ONCE', ...SOURCE };
    const firing = await tenant.create('firing-rule', body);
    await tenant.temp(100);
    await rules.probe.settled();
    await tenant.change(`firing-rule/${firing}`, { ...body, name: 'renamed' });
    expect(await tenant.guards()).toHaveLength(1);
    await tenant.change(`firing-rule/${firing}`, { ...body, aggregationKeys: ['streamId'] });
    expect(await tenant.guards()).toEqual([]);
    await tenant.temp(100);
    expect(await tenant.fired()).toHaveLength(2);
    expect((await tenant.api.delete(`${ROOT}/firing-rule/${firing}`)).status).toBe(204);
    expect(await tenant.guards()).toEqual([]);
    const database = await Database.connect({
      url: rules.backend.config.DATABASE_URL,
      schema: eventProcessing.schema!,
    });
    await removeLeftovers(database);
    await database.close();
    expect(
      await rules.backend.query('SELECT 1 FROM event_processing.firing_guards WHERE tenant_id = $1', [tenant.id]),
    ).toEqual([]);
  });

  it('SEP-013 the worked example fires once, for what is hot and far', async () => {
    const far = {
      '>': [{ distance: [{ var: 'location.lat' }, { var: 'location.lon' }, 48.800206, 2.296565] }, 6000],
    };
    await tenant.fires([await tenant.match({ and: [far, HOT] })], { firingType: 'ONCE', ...SOURCE });
    const sanFrancisco = { location: { lat: 37.773972, lon: -122.431297 } };
    await tenant.temp(105, 'near', { location: { lat: 48.8, lon: 2.3 } });
    await tenant.temp(98, 'cold', sanFrancisco);
    await tenant.temp(105, 'far', sanFrancisco);
    await tenant.temp(105, 'far', sanFrancisco);
    expect(streamsOf(await tenant.fired())).toEqual(['far']);
  });
});
