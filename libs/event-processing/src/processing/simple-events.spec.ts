import { randomUUID } from 'node:crypto';
import { AUDIT_SUBJECT } from '@orrery/core/bus';
import { Database } from '@orrery/core/database';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
} from '@orrery/core/testing';
import { routing } from '@orrery/routing';
import { store } from '@orrery/store';
import type { MatchingFiredEvent } from '../contract.js';
import type { FiringGuardDto } from '../guards/guard.dto.js';
import { eventProcessing } from '../index.js';
import { RuleProbe } from '../testing/events.js';
import { removeLeftovers } from './leftovers.js';

const ROOT = '/api/v0/eventprocessing';
const GUARDS = `${ROOT}/firing-guard`;
const HOT = { '>': [{ var: 'value.temp' }, 99] };
const MINUTE = 60_000;

type Json = Record<string, unknown>;

let backend: Backend;
let keys: KeyRing;
let url: string;
let probe: RuleProbe;
let tenantId: string;
let api: ApiClient;
const audited: Array<{ tenantId: string; type: string; content?: Json }> = [];

beforeAll(async () => {
  backend = await startBackend([store, routing, eventProcessing]);
  const bus = await backend.bus();
  keys = keyRing(bus);
  bus.connection.subscribe(AUDIT_SUBJECT, { callback: (_, message) => void audited.push(message.json()) });
  probe = new RuleProbe(bus, backend);
  ({ url } = await backend.boot([store, routing, eventProcessing]));
});
afterAll(async () => {
  await probe.close();
  await backend.stop();
});
beforeEach(() => {
  tenantId = randomUUID();
  api = apiClient(url, keys.grant(tenantId).value);
});

async function create(path: string, body: object): Promise<string> {
  const { status, body: created } = await api.post<{ id: string }>(`${ROOT}/${path}`, { enabled: true, ...body });
  expect({ status, created }).toMatchObject({ status: 201 });
  return created.id;
}
const match = (dataPredicate: object = HOT, name: string = randomUUID()): Promise<string> =>
  create('matching-rule', { name, dataPredicate });
const fires = (matchingRuleIds: string[], body: object = {}): Promise<string> =>
  create('firing-rule', { name: randomUUID(), matchingRuleIds, firingType: 'ALWAYS', ...body });
const change = async (path: string, body: object): Promise<void> =>
  expect((await api.put(`${ROOT}/${path}`, body)).status).toBe(204);
const provide = async (key: string, contextData: unknown): Promise<void> =>
  expect((await api.put(`${ROOT}/context/${key}`, { contextData })).status).toBe(200);
const guards = async (): Promise<FiringGuardDto[]> => (await api.get<FiringGuardDto[]>(GUARDS)).body;

const temp = (value: number, source = 'urn:lo:nsid:mqtt:a', more = {}): Promise<unknown> =>
  probe.send(tenantId, source, { value: { temp: value }, ...more });
/** The events of everything that has been sent. */
async function fired(): Promise<MatchingFiredEvent[]> {
  await probe.settled();
  return probe.fired(tenantId);
}
const dataOf = (events: MatchingFiredEvent[]): Json[] => events.map(({ matchingContext }) => matchingContext.data);
const tempsOf = (events: MatchingFiredEvent[]): unknown[] => dataOf(events).map(({ value }) => (value as Json)['temp']);
const streamsOf = (events: MatchingFiredEvent[]): unknown[] =>
  dataOf(events)
    .map(({ streamId }) => streamId)
    .toSorted();

describe('matching rules', () => {
  it('SEP-002 are evaluated on each message while they are enabled', async () => {
    const rule = await match(HOT, 'hot');
    await fires([rule]);
    await temp(100);
    await temp(99);
    expect(tempsOf(await fired())).toEqual([100]);
    await change(`matching-rule/${rule}`, { name: 'hot', enabled: false, dataPredicate: HOT });
    await temp(100);
    expect(await fired()).toHaveLength(1);
    await change(`matching-rule/${rule}`, {
      name: 'hot',
      enabled: true,
      dataPredicate: { '>': [{ var: 'value.temp' }, 200] },
    });
    await temp(101);
    await temp(201);
    expect(tempsOf(await fired())).toEqual([100, 201]);
  });

  it('SEP-006 lead to the firing rules that name one of them', async () => {
    const [a, b, c] = [
      await match({ '==': [{ var: 'value.temp' }, 1] }),
      await match({ '==': [{ var: 'value.temp' }, 2] }),
      await match({ '==': [{ var: 'value.temp' }, 3] }),
    ];
    await fires([a, b, randomUUID()]);
    await fires([c], { enabled: false });
    await temp(2);
    await temp(3);
    const events = await fired();
    expect(tempsOf(events)).toEqual([2]);
    expect(events[0]!.matchingContext.matchingRule.id).toBe(b);
  });

  it('apply to the messages of their tenant alone', async () => {
    await fires([await match()]);
    const other = randomUUID();
    const theirs = apiClient(url, keys.grant(other).value);
    const { body } = await theirs.post<{ id: string }>(`${ROOT}/matching-rule`, {
      name: 'n',
      enabled: true,
      dataPredicate: { '==': [{ ctx: 'secret' }, 1] },
    });
    await theirs.post(`${ROOT}/firing-rule`, {
      name: 'n',
      enabled: true,
      firingType: 'ALWAYS',
      matchingRuleIds: [body.id],
    });
    await provide('secret', 1);
    await temp(100);
    await probe.send(other, 'urn:lo:nsid:mqtt:a', { value: { temp: 100 } });
    expect(await fired()).toHaveLength(1);
    expect(probe.fired(other)).toEqual([]);
  });

  it('CTX-004 read the context when they are evaluated', async () => {
    await fires([await match({ '>': [{ var: 'value.NO2' }, { ctx: 'no2-alert-threshold-1' }] })]);
    const send = (): Promise<unknown> => probe.send(tenantId, 'd', { value: { NO2: 350 } });
    await provide('no2-alert-threshold-1', 400);
    await send();
    expect(await fired()).toHaveLength(0);
    for (let i = 1; i <= 10; i++) {
      await provide('no2-alert-threshold-1', 300);
      await send();
      expect(await fired()).toHaveLength(i);
      await provide('no2-alert-threshold-1', 400);
      await send();
      expect(await fired()).toHaveLength(i);
    }
  });

  it('SEP-018 are not evaluated on the events that they lead to', async () => {
    const matching = await match({ '==': [1, 1] }, 'everything');
    const firing = await fires([matching], { name: 'always' });
    const header = await probe.send(tenantId, 'urn:lo:nsid:mqtt:a', { value: { temp: 1 } });
    const [event] = await fired();
    expect(event).toEqual({
      type: 'matchingFired',
      version: 1,
      tenantId,
      timestamp: expect.stringMatching(/Z$/),
      firingRule: { id: firing, name: 'always' },
      matchingContext: {
        tenantId,
        timestamp: expect.stringMatching(/Z$/),
        matchingRule: { id: matching, name: 'everything' },
        data: expect.not.objectContaining({ id: header.id }),
      },
    });
    expect(event!.matchingContext.data).not.toHaveProperty('created');
    await eventually(async () => (await stored('event:urn:lo:nsid:mqtt:a')).length === 1);
    expect(await fired()).toHaveLength(1);
  });
});

const stored = async (streamId: string): Promise<Json[]> =>
  (await api.get<Json[]>(`/api/v0/data/streams/${streamId}`)).body;

describe('firing rules', () => {
  const SOURCE = { aggregationKeys: ['metadata.source'] };

  it('SEP-007 fire for each match with ALWAYS, without a guard', async () => {
    await fires([await match()], SOURCE);
    for (const value of [100, 101, 102]) await temp(value);
    expect(tempsOf(await fired())).toEqual([100, 101, 102]);
    expect(await guards()).toEqual([]);
  });

  it('SEP-008 fire once with ONCE, also for messages that come together', async () => {
    await fires([await match()], { firingType: 'ONCE', ...SOURCE });
    await Promise.all([100, 101, 102].map((value) => temp(value)));
    await probe.settled();
    await temp(103);
    expect(tempsOf(await fired())).toEqual([100]);
  });

  it('SEP-009 tell firing contexts apart by the values of their keys', async () => {
    const rule = await match();
    await fires([rule], { firingType: 'ONCE', ...SOURCE });
    const both = await fires([rule], { firingType: 'ONCE', aggregationKeys: ['metadata.source', 'streamId'] });
    for (const [source, streamId] of [
      ['A', 's1'],
      ['A', 's2'],
      ['A', 's1'],
      ['B', 's3'],
      ['B', 's3'],
    ] as const)
      await temp(100, source, { streamId });
    const events = await fired();
    expect(streamsOf(events.filter(({ firingRule }) => firingRule.id !== both))).toEqual(['s1', 's3']);
    expect(streamsOf(events.filter(({ firingRule }) => firingRule.id === both))).toEqual(['s1', 's2', 's3']);
  });

  it('SEP-010 have a single context without keys, and null for a key that is missing', async () => {
    const rule = await match();
    const whole = await fires([rule], { firingType: 'ONCE' });
    const missing = await fires([rule], { firingType: 'ONCE', aggregationKeys: ['value.absent'] });
    await temp(100, 'A');
    await temp(100, 'B');
    const events = await fired();
    expect(events.map(({ firingRule }) => firingRule.id).toSorted()).toEqual([whole, missing].toSorted());
    const criteria = (await guards()).map(({ guardCriteria }) => guardCriteria);
    expect(criteria).toHaveLength(2);
    expect(criteria).toContainEqual([{ keyPath: 'value.absent', value: null }]);
    expect(criteria).toContainEqual([]);
  });

  it('SEP-011 sleep after an event, by the time at which messages arrived', async () => {
    await fires([await match()], { firingType: 'SLEEP', sleepDuration: 'PT2M', ...SOURCE });
    const from = Date.now() - 10 * MINUTE;
    for (const [source, oneByOne] of [
      ['slow', true],
      ['fast', false],
    ] as const) {
      for (const second of [0, 10, 119, 121]) {
        await temp(100 + second, source, { arrived: from + second * 1000 });
        if (oneByOne) await probe.settled();
      }
      const events = (await fired()).filter(({ matchingContext }) => matchingContext.data['streamId'] === source);
      expect(tempsOf(events)).toEqual([100, 221]);
    }
    // What has expired is no longer seen.
    expect(await guards()).toEqual([]);
    await temp(100, 'slow');
    const [guard] = await eventually(async () => {
      const found = await guards();
      return found.length === 1 && found;
    });
    const { created, expireAt } = guard!;
    expect(Date.parse(expireAt!) - Date.parse(created)).toBe(2 * MINUTE);
  });

  it('SEP-012 fire again when their guard is removed', async () => {
    const matching = await match();
    const firing = await fires([matching], { firingType: 'ONCE', ...SOURCE });
    await temp(100, 'A');
    await temp(100, 'B');
    expect(await fired()).toHaveLength(2);
    const found = await guards();
    const ofA = found.find(({ guardCriteria }) => guardCriteria[0]!.value === 'A')!;
    expect(found).toHaveLength(2);
    expect(ofA).toEqual({
      id: expect.any(String),
      tenantId,
      firingRuleId: firing,
      guardCriteria: [{ keyPath: 'metadata.source', value: 'A' }],
      matchingContext: {
        tenantId,
        timestamp: expect.any(String),
        matchingRule: expect.objectContaining({ id: matching, enabled: true, dataPredicate: HOT }),
        data: expect.objectContaining({ streamId: 'A', value: { temp: 100 } }),
      },
      created: expect.any(String),
    });
    expect((await api.get(`${GUARDS}/${ofA.id}`)).body).toEqual(ofA);
    const stranger = apiClient(url, keys.grant(randomUUID()).value);
    expect((await stranger.delete(`${GUARDS}/${ofA.id}`)).status).toBe(404);
    expect((await api.delete(`${GUARDS}/${ofA.id}`)).status).toBe(204);
    expect((await api.delete(`${GUARDS}/${ofA.id}`)).status).toBe(404);
    expect((await api.get(`${GUARDS}/${ofA.id}`)).status).toBe(404);
    await temp(101, 'A');
    await temp(101, 'B');
    expect(tempsOf(await fired())).toEqual([100, 100, 101]);
  });

  it('searches and removes guards by their values', async () => {
    const rule = await match();
    const firing = await fires([rule], { firingType: 'ONCE', aggregationKeys: ['metadata.source', 'value.kind'] });
    const other = await fires([rule], { firingType: 'ONCE' });
    for (const [source, kind] of [
      ['A', 'x'],
      ['A', 'nul \u0000 \ud83d'],
      ['B', 'x'],
    ] as const)
      await probe.send(tenantId, source, { value: { temp: 100, kind } });
    await probe.settled();
    const search = async (selectionCriteria?: object[], firingRuleId = firing): Promise<number> => {
      const { status, body } = await api.post<unknown[]>(`${GUARDS}/search`, { firingRuleId, selectionCriteria });
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
    expect((await api.get<unknown[]>(`${GUARDS}?firingRuleId=${firing}&size=2`)).body).toHaveLength(2);
    for (const body of [{}, { firingRuleId: 'x' }, { firingRuleId: firing, selectionCriteria: [{}] }])
      expect((await api.post(`${GUARDS}/search`, body)).status).toBe(400);
    expect((await api.delete(GUARDS)).status).toBe(400);
    expect((await api.delete(GUARDS, { firingRuleId: firing, selectionCriteria: [source('A')] })).body).toBe(2);
    expect(await search()).toBe(1);
    expect(await search([], other)).toBe(1);
  });

  it('lose their guards when they fire in another way, and when they are deleted', async () => {
    const rule = await match();
    const body = { name: 'n', enabled: true, matchingRuleIds: [rule], firingType: 'ONCE', ...SOURCE };
    const firing = await create('firing-rule', body);
    await temp(100);
    await probe.settled();
    await change(`firing-rule/${firing}`, { ...body, name: 'renamed' });
    expect(await guards()).toHaveLength(1);
    await change(`firing-rule/${firing}`, { ...body, aggregationKeys: ['streamId'] });
    expect(await guards()).toEqual([]);
    await temp(100);
    expect(await fired()).toHaveLength(2);
    expect((await api.delete(`${ROOT}/firing-rule/${firing}`)).status).toBe(204);
    expect(await guards()).toEqual([]);
    const database = await Database.connect({ url: backend.config.DATABASE_URL, schema: eventProcessing.schema! });
    await removeLeftovers(database);
    await database.close();
    expect(
      await backend.query('SELECT 1 FROM event_processing.firing_guards WHERE tenant_id = $1', [tenantId]),
    ).toEqual([]);
  });

  it('SEP-013 the worked example fires once, for what is hot and far', async () => {
    const far = {
      '>': [{ distance: [{ var: 'location.lat' }, { var: 'location.lon' }, 48.800206, 2.296565] }, 6000],
    };
    await fires([await match({ and: [far, HOT] })], { firingType: 'ONCE', ...SOURCE });
    const sanFrancisco = { location: { lat: 37.773972, lon: -122.431297 } };
    await temp(105, 'near', { location: { lat: 48.8, lon: 2.3 } });
    await temp(98, 'cold', sanFrancisco);
    await temp(105, 'far', sanFrancisco);
    await temp(105, 'far', sanFrancisco);
    expect(streamsOf(await fired())).toEqual(['far']);
  });
});

describe('use case 1 (17.4.1)', () => {
  const hour = { get_utc_hours: [{ var: 'timestamp' }] };
  const AT_NIGHT = {
    and: [{ '==': [{ var: 'value.motionSensorDetection' }, 1] }, { or: [{ '>=': [hour, 20] }, { '<': [hour, 6] }] }],
  };
  const detection = (source: string, timestamp: string, motionSensorDetection = 1, more = {}): Promise<unknown> =>
    probe.send(tenantId, source, {
      model: 'demoDevGuide',
      value: { motionSensorDetection, type: 'alert', typeId: 4, version: '1.2.4' },
      location: { lon: 2.99616, lat: 50.21142 },
      tags: ['last_version', 'areaSouth'],
      timestamp,
      ...more,
    });

  it('SEP-015 matches motion during the night', async () => {
    await fires([await match(AT_NIGHT)]);
    for (const [time, matches] of [
      ['23:58:10.953', true],
      ['08:58:10.953', false],
      ['05:59:00.000', true],
      ['06:00:00.000', false],
      ['20:00:00.000', true],
    ] as const) {
      await detection(matches ? 'night' : 'day', `2019-09-06T${time}Z`);
      await detection('none', `2019-09-06T${time}Z`, 0);
    }
    expect(dataOf(await fired()).map(({ streamId, timestamp }) => [streamId, timestamp])).toEqual([
      ['night', '2019-09-06T23:58:10.953Z'],
      ['night', '2019-09-06T05:59:00.000Z'],
      ['night', '2019-09-06T20:00:00.000Z'],
    ]);
  });

  it('SEP-016 sleeps for two minutes per sensor', async () => {
    await fires([await match(AT_NIGHT)], {
      firingType: 'SLEEP',
      sleepDuration: 'PT2M',
      aggregationKeys: ['metadata.source'],
    });
    const from = Date.now() - 10 * MINUTE;
    for (let second = 0; second < 300; second += 10) {
      const timestamp = new Date(Date.UTC(2019, 8, 6, 23, 50) + second * 1000).toISOString();
      await detection('one', timestamp, 1, { arrived: from + second * 1000 });
      if (second === 100) await detection('two', timestamp, 1, { arrived: from + second * 1000 });
    }
    const events = await fired();
    const secondsOf = (sensor: string): number[] =>
      dataOf(events)
        .filter(({ streamId }) => streamId === sensor)
        .map(({ timestamp }) => (Date.parse(String(timestamp)) - Date.UTC(2019, 8, 6, 23, 50)) / 1000);
    expect(secondsOf('one')).toEqual([0, 120, 240]);
    expect(secondsOf('two')).toEqual([100]);
  });
});

describe('use case 3 (17.4.3)', () => {
  const NO2 = { var: 'value.NO2' };
  const hourly = { '==': [{ var: 'value.type' }, 'hourly'] };
  const ALERT = {
    and: [
      { '>': [NO2, { ctx: 'no2-alert-threshold-2' }] },
      {
        or: [
          { '==': [{ ctx: 'no2-previous-day-medium-level-reached' }, true] },
          { '==': [{ ctx: 'no2-previous-day-high-level-reached' }, true] },
        ],
      },
      hourly,
    ],
  };
  const level = (value: number, more = {}): Promise<unknown> =>
    probe.send(tenantId, undefined, {
      streamId: 'paris-centre-hourly',
      model: 'model_hourly',
      value: { type: 'hourly', NO2: value, PM10: 45, 'monitoring-station': 'paris-centre' },
      ...more,
    });

  it('CTX-005 matches by the level of the previous day, which is a context', async () => {
    await provide('no2-alert-threshold-2', 200);
    await fires([await match(ALERT)]);
    for (const reached of [true, false]) {
      const { status } = await api.put(`${ROOT}/context/no2-previous-day-medium-level-reached`, {
        contextData: reached,
        tags: ['previous day'],
      });
      expect(status).toBe(200);
      await level(201);
      expect(await fired()).toHaveLength(1);
    }
  });

  it('SEP-017 fires each alert, and information at most every six hours', async () => {
    await provide('no2-alert-threshold-2', 200);
    await provide('no2-info-threshold-1', 180);
    await provide('no2-previous-day-medium-level-reached', true);
    const streamId = { aggregationKeys: ['streamId'] };
    const alert = await fires([await match(ALERT)], streamId);
    const info = await fires([await match({ and: [{ '>': [NO2, { ctx: 'no2-info-threshold-1' }] }, hourly] })], {
      firingType: 'SLEEP',
      sleepDuration: 'PT6H',
      ...streamId,
    });
    const from = Date.now() - 7 * 60 * MINUTE;
    for (const minute of [0, 60, 361]) await level(250 + minute, { arrived: from + minute * MINUTE });
    await level(190, { streamId: 'place-de-l-opera-hourly', arrived: from + 60 * MINUTE });
    const events = await fired();
    const levelsOf = (id: string): unknown[] =>
      dataOf(events.filter(({ firingRule }) => firingRule.id === id))
        .map(({ value }) => (value as Json)['NO2'] as number)
        .toSorted((a, b) => a - b);
    expect(levelsOf(alert)).toEqual([250, 310, 611]);
    expect(levelsOf(info)).toEqual([190, 250, 611]);
  });
});

describe('fired events', () => {
  it('MSG-016 are routed with the rules named', async () => {
    expect((await api.post('/api/v0/topics/fifo', { name: 'alarms' })).status).toBe(200);
    const matching = await match(HOT, 'testEventProcessingDevGuide');
    const firing = await fires([matching], { name: 'firingTestDevGuide' });
    await api.post('/api/v1/event2action/actionPolicies', {
      enabled: true,
      triggers: { matchingFired: { version: 1, filter: { ruleIds: [firing] } } },
      actions: { fifoPublish: [{ fifoName: 'alarms' }] },
    });
    await probe.send(tenantId, 'urn:lo:nsid:mqtt:1234', { value: { temp: 100, pressure: 36575 } });
    const [row] = await eventually(async () => {
      const rows = await backend.query<{ body: string }>(
        `SELECT body FROM routing.fifo_messages WHERE fifo_id IN (SELECT id FROM routing.fifos WHERE tenant_id = $1)`,
        [tenantId],
      );
      return rows.length > 0 && rows;
    });
    expect(JSON.parse(row!.body)).toEqual({
      type: 'matchingFired',
      version: 1,
      tenantId,
      timestamp: expect.any(String),
      firingRule: { id: firing, name: 'firingTestDevGuide' },
      matchingContext: {
        tenantId,
        timestamp: expect.any(String),
        matchingRule: { id: matching, name: 'testEventProcessingDevGuide' },
        data: {
          type: 'dataMessage',
          version: 1,
          streamId: 'urn:lo:nsid:mqtt:1234',
          timestamp: expect.any(String),
          value: { temp: 100, pressure: 36575 },
          tags: [],
          extra: {},
          metadata: {
            source: 'urn:lo:nsid:mqtt:1234',
            group: { id: 'root', path: '/' },
            connector: 'mqtt',
          },
        },
      },
    });
  });

  it('MSG-018 are stored in the stream of events of their stream', async () => {
    await fires([await match()]);
    await probe.send(tenantId, undefined, { streamId: 's1', value: { temp: 100 } });
    await probe.send(tenantId, undefined, {
      streamId: 's2',
      model: 'model_hourly',
      value: { temp: 100 },
      location: { lat: 48.8584, lon: 2.2945 },
    });
    const [plain, located] = await Promise.all(
      ['event:s1', 'event:s2'].map((streamId) =>
        eventually(async () => {
          const found = await stored(streamId);
          return found.length === 1 && found[0];
        }),
      ),
    );
    const common = {
      metadata: null,
      extra: null,
      tags: ['event'],
      id: expect.stringMatching(/^[0-9a-f]{24}$/),
      created: expect.any(String),
      timestamp: expect.any(String),
      value: expect.any(Object),
    };
    expect(plain).toEqual({ ...common, streamId: 'event:s1', model: 'event', location: null });
    expect(located).toEqual({
      ...common,
      streamId: 'event:s2',
      model: 'event:model_hourly',
      location: { lat: 48.8584, lon: 2.2945, provider: null, alt: null, accuracy: null },
    });
    expect(plain!['timestamp']).toBe((plain!['value'] as Json)['timestamp']);
  });

  it('are stored with their stream, however long its name is', async () => {
    await fires([await match()]);
    const streamId = 's'.repeat(256);
    await probe.send(tenantId, undefined, { streamId, value: { temp: 100 } });
    await eventually(async () => (await stored(`event:${streamId}`)).length === 1);
    expect((await api.get('/api/v0/data/streams/event:')).status).toBe(200);
  });
});

describe('a rule that fails', () => {
  it('fires nothing, is in the audit log once, and keeps no other from firing', async () => {
    const list = { var: 'value.list' };
    const failing = [
      await match({ '>': [{ '+': [{ var: 'value.text' }, 1] }, 0] }),
      await match({ reduce: [list, { merge: [{ var: 'accumulator' }, { var: 'accumulator' }] }, [1]] }),
    ];
    const fine = await match();
    await fires([...failing, fine]);
    const count = 50;
    await Promise.all(
      Array.from({ length: count }, (_, i) =>
        temp(100 + i, 'd', {
          value: { temp: 100 + i, text: 'no number', list: Array.from({ length: 3000 }, () => 0) },
        }),
      ),
    );
    const events = await fired();
    expect(new Set(events.map(({ matchingContext }) => matchingContext.matchingRule.id))).toEqual(new Set([fine]));
    expect(tempsOf(events)).toEqual(Array.from({ length: count }, (_, i) => 100 + i));
    const entries = await eventually(() => {
      const found = audited.filter((entry) => entry.tenantId === tenantId && entry.type === 'rule_failed');
      return found.length >= 2 && found;
    });
    expect(entries.length).toBeLessThan(count);
    expect(new Set(entries.map(({ content }) => content!['ruleId']))).toEqual(new Set(failing));
  });
});
