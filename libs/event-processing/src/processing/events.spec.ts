import { eventually } from '@orrery/core/testing';
import { routing } from '@orrery/routing';
import { store } from '@orrery/store';
import { eventProcessing } from '../index.js';
import {
  HOT,
  type Json,
  type RuleBackend,
  type RuleTenant,
  startRuleBackend,
  tempsOf,
} from '../testing/rule-backend.js';

let rules: RuleBackend;
let tenant: RuleTenant;

beforeAll(async () => {
  rules = await startRuleBackend([store, routing, eventProcessing]);
});
afterAll(() => rules.stop());
beforeEach(() => {
  tenant = rules.newTenant();
});

/** The messages of a stream, once there are as many. */
const storedTimes = (streamId: string, count: number): Promise<Json[]> =>
  eventually(async () => {
    const found = await tenant.stored(streamId);
    return found.length === count && found;
  });

describe('fired events', () => {
  it('MSG-016 are routed with the rules named', async () => {
    expect((await tenant.api.post('/api/v0/topics/fifo', { name: 'alarms' })).status).toBe(200);
    const matching = await tenant.match(HOT, { name: 'testEventProcessingDevGuide' });
    const firing = await tenant.fires([matching], { name: 'firingTestDevGuide' });
    await tenant.api.post('/api/v1/event2action/actionPolicies', {
      enabled: true,
      triggers: { matchingFired: { version: 1, filter: { ruleIds: [firing] } } },
      actions: { fifoPublish: [{ fifoName: 'alarms' }] },
    });
    await tenant.send('urn:lo:nsid:mqtt:1234', { value: { temp: 100, pressure: 36575 } });
    const [row] = await eventually(async () => {
      const rows = await rules.backend.query<{ body: string }>(
        `SELECT body FROM routing.fifo_messages WHERE fifo_id IN (SELECT id FROM routing.fifos WHERE tenant_id = $1)`,
        [tenant.id],
      );
      return rows.length > 0 && rows;
    });
    expect(JSON.parse(row!.body)).toEqual({
      type: 'matchingFired',
      version: 1,
      tenantId: tenant.id,
      timestamp: expect.any(String),
      firingRule: { id: firing, name: 'firingTestDevGuide' },
      matchingContext: {
        tenantId: tenant.id,
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
    await tenant.fires([await tenant.match()]);
    await tenant.send(undefined, { streamId: 's1', value: { temp: 100 } });
    await tenant.send(undefined, {
      streamId: 's2',
      model: 'model_hourly',
      value: { temp: 100 },
      location: { lat: 48.8584, lon: 2.2945 },
    });
    const [[plain], [located]] = [await storedTimes('event:s1', 1), await storedTimes('event:s2', 1)];
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
    await tenant.fires([await tenant.match()]);
    const streamId = 's'.repeat(256);
    await tenant.send(undefined, { streamId, value: { temp: 100 } });
    await storedTimes(`event:${streamId}`, 1);
    expect((await tenant.api.get('/api/v0/data/streams/event:')).status).toBe(200);
  });
});

// The rules of 15.4.2.
const DEVICE = 'urn:lo:nsid:mqtt:1234';
const VALUE = { temp: 100, pressure: 36575 };
const STATE_FUNCTION = {
  if: [{ '<': [{ var: 'value.temp' }, 0] }, 'cold', { '<': [{ var: 'value.temp' }, 100] }, 'normal', 'hot'],
};
/** The message as it is told of in stored events. */
const DATA = {
  metadata: { connector: 'mqtt', source: DEVICE, group: { path: '/', id: 'root' } },
  streamId: DEVICE,
  extra: {},
  value: VALUE,
  timestamp: expect.any(String),
  tags: [],
};

describe('stored events', () => {
  it('MSG-017 hold the matching rule and the firing rule in full', async () => {
    const matching = await tenant.match(HOT, { name: 'testEventProcessingDevGuide' });
    const firing = await tenant.fires([matching], { name: 'firingTestDevGuide', aggregationKeys: ['streamId'] });
    await tenant.send(DEVICE, { value: VALUE });
    const [event] = await storedTimes(`event:${DEVICE}`, 1);
    expect(event!['value']).toEqual({
      matchingContext: {
        matchingRule: {
          dataPredicate: '{">":[{"var":"value.temp"},99]}',
          name: 'testEventProcessingDevGuide',
          id: matching,
          enabled: true,
        },
        data: DATA,
        tenantId: tenant.id,
        timestamp: expect.any(String),
      },
      tenantId: tenant.id,
      timestamp: expect.any(String),
      firingRule: {
        name: 'firingTestDevGuide',
        matchingRuleIds: [matching],
        id: firing,
        aggregationKeys: ['streamId'],
        firingType: 'ALWAYS',
        enabled: true,
      },
    });
  });

  it('MSG-020 hold the state processing rule in full', async () => {
    const rule = await tenant.state(STATE_FUNCTION, { name: 'temperature state rule' });
    await tenant.send(DEVICE, { value: VALUE });
    const [event] = await storedTimes(`event:${DEVICE}`, 1);
    expect(event).toMatchObject({ metadata: null, extra: null, location: null, model: 'event', tags: ['event'] });
    expect(event!['value']).toEqual({
      stateProcessingRuleId: rule,
      data: DATA,
      tenantId: tenant.id,
      newState: 'hot',
      stateKey: DEVICE,
      previousState: null,
      timestamp: expect.any(String),
      stateProcessingRule: {
        stateKeyPath: 'streamId',
        name: 'temperature state rule',
        stateFunction: JSON.stringify(STATE_FUNCTION),
        id: rule,
        enabled: true,
        filterPredicate: 'null',
      },
    });
    await tenant.change(`stateprocessing-rule/${rule}`, {
      enabled: true,
      stateKeyPath: 'streamId',
      stateFunction: STATE_FUNCTION,
      filterPredicate: HOT,
    });
    await tenant.send(DEVICE, { value: { temp: 99.5 } });
    await tenant.send('other', { value: VALUE });
    const [filtered] = await storedTimes('event:other', 1);
    expect(filtered!['value']).toMatchObject({ stateProcessingRule: { filterPredicate: JSON.stringify(HOT) } });
  });
});

describe('changes of state', () => {
  it('MSG-019 are routed with the rule named', async () => {
    const rule = await tenant.state(STATE_FUNCTION, { name: 'temperature state rule' });
    await tenant.send(DEVICE, { value: { temp: 50 } });
    await tenant.send(DEVICE, { value: VALUE });
    const changes = await tenant.changes();
    expect(changes).toHaveLength(2);
    expect(changes[1]).toEqual({
      type: 'stateChange',
      version: 1,
      tenantId: tenant.id,
      stateKey: DEVICE,
      previousState: 'normal',
      newState: 'hot',
      timestamp: expect.any(String),
      stateProcessingRuleId: rule,
      stateProcessingRule: { id: rule, name: 'temperature state rule' },
      data: { type: 'dataMessage', version: 1, ...DATA },
    });
  });
});

describe('a rule that fails', () => {
  it('fires nothing, is in the audit log once, and keeps no other from firing', async () => {
    const list = { var: 'value.list' };
    const failing = [
      await tenant.match({ '>': [{ '+': [{ var: 'value.text' }, 1] }, 0] }),
      await tenant.match({ reduce: [list, { merge: [{ var: 'accumulator' }, { var: 'accumulator' }] }, [1]] }),
    ];
    const fine = await tenant.match();
    await tenant.fires([...failing, fine]);
    const count = 50;
    await Promise.all(
      Array.from({ length: count }, (_, i) =>
        tenant.temp(100 + i, 'd', {
          value: { temp: 100 + i, text: 'no number', list: Array.from({ length: 3000 }, () => 0) },
        }),
      ),
    );
    const events = await tenant.fired();
    expect(new Set(events.map(({ matchingContext }) => matchingContext.matchingRule.id))).toEqual(new Set([fine]));
    expect(tempsOf(events)).toEqual(Array.from({ length: count }, (_, i) => 100 + i));
    const entries = await eventually(() => {
      const found = rules.audited.filter((entry) => entry.tenantId === tenant.id && entry.type === 'rule_failed');
      return found.length >= 2 && found;
    });
    expect(entries.length).toBeLessThan(count);
    expect(new Set(entries.map(({ content }) => content!['ruleId']))).toEqual(new Set(failing));
  });
});
