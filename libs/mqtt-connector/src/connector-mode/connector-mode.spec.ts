import type { Role } from '@orrery/core/auth';
import { eventually } from '@orrery/core/testing';
import { DATA, ExternalConnectors, marked, STATUS } from '../testing/external-connectors.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';

let around: Surroundings;
let connectors: ExternalConnectors;
beforeAll(async () => {
  around = await startSurroundings();
  connectors = new ExternalConnectors(around);
});
afterAll(async () => {
  connectors.end();
  await around.backend.stop();
});

describe('connection', () => {
  it('ACC-041 MQX-001 opens with the role CONNECTOR_ACCESS, which opens nothing else', async () => {
    const { value } = around.keys.grant('acme', { roles: ['CONNECTOR_ACCESS'] });
    expect(await (await connectors.open()).connect('connector', value, 'accepted')).toBe(0);
    for (const username of ['Connector', 'json+device', 'application'])
      expect(await (await connectors.open()).connect(username, value, 'refused')).toBe(4);
    const others: Role[] = ['DEVICE_ACCESS', 'BUS_R', 'BUS_W', 'DATA_R', 'DATA_W', 'DEVICE_R', 'DEVICE_W'];
    const without = around.keys.grant('acme', { roles: others });
    expect(await (await connectors.open()).connect('connector', without.value, 'no-role')).toBe(4);
    expect((await around.audit('connection_refused', 'no-role')).description).toContain('CONNECTOR_ACCESS');
  });

  it('ACC-046 is closed to keys that are restrained to FIFOs, as device mode is', async () => {
    const { value } = around.keys.grant('acme', { fifos: ['f1'] });
    expect(await (await connectors.open()).connect('connector', value, 'restrained')).toBe(4);
    expect(await (await connectors.open()).connect('json+device', value, 'restrained')).toBe(4);
    expect(await (await connectors.open()).connect('application', value, 'restrained')).toBe(0);
  });

  it('MQX-002 lets several have the same client id', async () => {
    const first = await connectors.connect('c1');
    const second = await connectors.connect('c1', 'c1');
    await connectors.publish(second, DATA('shared'), marked('of the second'));
    await first.ping();
    await second.ping();
  });
});

describe('topics', () => {
  it('MQX-003 are those of the mode: each of the ten works', async () => {
    const client = await connectors.connect('ten');
    for (const [topic, content] of [
      [STATUS('ten'), { status: 'ONLINE' }],
      [DATA('ten'), marked('ten')],
      ['connector/v1/responses/command', { id: 'c', nodeId: 'ten', response: { done: true } }],
      [
        'connector/v1/responses/configuration',
        '{"nodeId":"ten","targetVersion":1,"parameters":{"p":{"type":"UINT32","value":8035095625792325998}}}',
      ],
      ['connector/v1/current/configuration', { nodeId: 'ten', parameters: { p: { type: 'FLOAT', value: 0.5 } } }],
      ['connector/v1/responses/resource', { nodeId: 'ten', updateCorrelationId: 'u', status: 'FAILED' }],
      ['connector/v1/current/resource', { nodeId: 'ten', resources: { firmware: { version: '3.2' } } }],
    ] as const)
      await connectors.publish(client, topic, content);
    expect(
      await client.subscribe([
        'connector/v1/requests/command',
        'connector/v1/requests/configuration',
        'connector/v1/requests/resource',
      ]),
    ).toEqual([1, 1, 1]);
    await around.message('ten');
    for (const type of [
      'nodeStatus',
      'commandResponse',
      'configurationResponse',
      'configurationReport',
      'resourceFailure',
      'resourceReport',
    ])
      await eventually(() => connectors.events(type, 'ten').length === 1);
    expect(connectors.audits('ten')).toEqual([]);
  });

  it('MQX-003 MQT-056 are no others: they are acknowledged, audited and have no effect', async () => {
    const client = await connectors.connect('topics');
    const before = around.messages.length;
    for (const topic of [
      'dev/data',
      'application/v1/data',
      'connector/v1/nodes/n1/other',
      'connector/v1/nodes/a/b/status',
      'connector/v1/nodes/n1/status/',
      'connector/v1/requests/command',
      'Connector/v1/nodes/n1/status',
      'connector/v1',
    ])
      await connectors.publish(client, topic, {
        value: { mark: 'elsewhere' },
        status: 'ONLINE',
        nodeId: 'n1',
        id: '1',
      });
    const subscribed = ['connector/v1/requests/other', 'connector/v1/requests/#', 'dev/cmd', 'fifo/f', '#'];
    expect(await client.subscribe(subscribed)).toEqual([0x80, 0x80, 0x80, 0x80, 0x80]);
    await eventually(() => connectors.audits('topics').length === 13);
    expect(new Set(connectors.audits('topics'))).toEqual(new Set(['bad_topic']));
    expect((await around.audit('bad_topic', 'topics')).content).toEqual({ clientId: 'topics', topic: 'dev/data' });
    expect(around.messages).toHaveLength(before);
    expect(around.inventory.requests.some(({ nodeId }) => nodeId === 'n1')).toBe(false);
  });

  it('MQX-004 name nodes of 1 to 128 letters, digits, colons, hyphens and underscores', async () => {
    const client = await connectors.connect('node-ids');
    const asked = around.inventory.requests.length;
    for (const nodeId of ['my node', 'x'.repeat(129), '', 'é', 'a.b', 'a\u0001'])
      for (const topic of [STATUS(nodeId), DATA(nodeId)]) await connectors.publish(client, topic, { status: 'ONLINE' });
    for (const nodeId of ['my node', '', 7, null, ['n'], 'a\u0000'])
      await connectors.publish(client, 'connector/v1/current/resource', { nodeId, resources: { r: { version: '1' } } });
    await eventually(() => connectors.audits('node-ids').length === 18);
    expect(connectors.audits('node-ids').filter((type) => type === 'bad_node_id')).toHaveLength(12);
    expect(around.inventory.requests).toHaveLength(asked);
    await connectors.publish(client, DATA('x'.repeat(128)), marked('longest'));
    await connectors.publish(client, DATA('a:b-c_1'), marked('punctuation'));
    expect((await around.message('punctuation')).metadata.source).toBe('urn:lo:nsid:x-connector:a:b-c_1');
    await around.message('longest');
  });

  it('take names that objects have by themselves', async () => {
    const client = await connectors.connect('proto');
    for (const nodeId of ['__proto__', 'constructor']) {
      await connectors.publish(client, STATUS(nodeId), { status: 'ONLINE' });
      await connectors.publish(client, DATA(nodeId), marked(nodeId));
      await around.message(nodeId);
      await eventually(() => connectors.events('nodeStatus', nodeId).length === 1);
    }
  });
});

describe('node statuses', () => {
  it('go to the inventory with what they say, as the manual shows it', async () => {
    const client = await connectors.connect('statuses');
    await connectors.publish(client, STATUS('s1'), {
      status: 'ONLINE',
      capabilities: { command: { available: true }, configuration: { available: true }, resource: { available: true } },
      lastContact: '2019-05-20T16:01:47Z',
      sessionSequenceId: 1,
      eventSequenceId: 3,
    });
    const [event] = await eventually(() => connectors.events('nodeStatus', 's1'));
    expect(event).toEqual({
      type: 'nodeStatus',
      connector: 'x-connector',
      nodeId: 's1',
      deviceId: 'urn:lo:nsid:x-connector:s1',
      status: 'ONLINE',
      capabilities: { command: { available: true }, configuration: { available: true }, resource: { available: true } },
      lastContact: '2019-05-20T16:01:47.000Z',
      sessionSequenceId: 1,
      eventSequenceId: 3,
      timestamp: expect.any(String),
    });
    await connectors.publish(client, STATUS('s1'), {
      status: 'OFFLINE',
      capabilities: { command: null, configuration: {}, other: 1 },
      lastContact: null,
      eventSequenceId: null,
    });
    const second = (await eventually(() => connectors.events('nodeStatus', 's1')[1]))!;
    expect(second).toMatchObject({ status: 'OFFLINE', capabilities: {}, lastContact: second['timestamp'] });
    expect(Math.abs(Date.parse(second['timestamp'] as string) - Date.now())).toBeLessThan(10_000);
    expect(second).not.toHaveProperty('eventSequenceId');
  });

  it.each([
    ['MQX-013 no JSON', '{'],
    ['MQX-008 the status REGISTERED', { status: 'REGISTERED' }],
    ['MQX-008 no status', {}],
    ['MQX-013 another type of status', { status: true }],
    ['a list', [{ status: 'ONLINE' }]],
    ['null', 'null'],
    ['nothing', ''],
    ['bytes that are no UTF-8', '\u{dcff}'],
    ['MQX-013 capabilities of another type', { status: 'ONLINE', capabilities: [] }],
    ['MQX-013 a capability of another type', { status: 'ONLINE', capabilities: { command: true } }],
    ['an availability of another type', { status: 'ONLINE', capabilities: { command: { available: 'yes' } } }],
    ['a bad time', { status: 'ONLINE', lastContact: 'yesterday' }],
    ['a time of another type', { status: 'ONLINE', lastContact: 1558368107 }],
    ['a number that is no integer', { status: 'ONLINE', sessionSequenceId: 1.5 }],
    ['a number as text', { status: 'ONLINE', eventSequenceId: '3' }],
    ['a number that JSON does not keep', { status: 'ONLINE', eventSequenceId: 2 ** 60 }],
    ['more than a mebibyte', { status: 'ONLINE', more: 'x'.repeat(1 << 20) }],
  ])('with %s are acknowledged, ignored and audited', async (what, content) => {
    const clientId = `bad-${what.replaceAll(/\W/g, '-').slice(0, 100)}`;
    const nodeId = `${clientId}-node`;
    const client = await connectors.connect(clientId);
    await connectors.publish(client, STATUS(nodeId), content);
    const entry = await around.audit('bad_message', clientId);
    expect(entry).toMatchObject({
      level: 'error',
      category: 'connectivity',
      subcategory: 'mqtt',
      source: { connector: 'x-connector', nodeId },
      description: expect.stringMatching(/^Node status refused: .*expected/),
    });
    await client.ping();
    expect(connectors.events('nodeStatus', nodeId)).toEqual([]);
    expect(around.inventory.requests.some((request) => request.nodeId === nodeId)).toBe(false);
  });
});
