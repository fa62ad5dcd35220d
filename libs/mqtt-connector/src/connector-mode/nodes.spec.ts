import type { Packet } from 'mqtt-packet';
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

describe('data messages', () => {
  it('are messages of the device behind the node', async () => {
    const client = await connectors.connect('data');
    around.inventory.set('data', 'd1', { deviceId: 'urn:lo:nsid:external:measures', encoding: 'E1' });
    await connectors.publish(client, DATA('d1'), {
      streamId: 'urn:lo:nsid:detector_A8:12435355',
      timestamp: '2019-05-20T16:01:47Z',
      model: 'data_v0',
      value: { temperature: 14.6, battery: 53, mark: 'd1' },
      location: { lat: 48.86667, lon: 2.33333, alt: 35.2, accuracy: 12.3, provider: 'GPS' },
      tags: ['production', 'london'],
      metadata: { encoding: 'E2', source: 'urn:lo:nsid:some:body' },
    });
    expect(await around.message('d1')).toMatchObject({
      streamId: 'urn:lo:nsid:detector_A8:12435355',
      timestamp: '2019-05-20T16:01:47.000Z',
      model: 'data_v0',
      location: { lat: 48.86667, provider: 'GPS' },
      tags: ['production', 'london'],
      metadata: { connector: 'x-connector', source: 'urn:lo:nsid:external:measures', encoding: 'E1' },
    });
    const [, contact] = [
      await eventually(() => connectors.events('nodeContact', 'd1')[0]),
      connectors.events('nodeContact', 'd1')[0],
    ];
    expect(contact).toMatchObject({ connector: 'x-connector', deviceId: 'urn:lo:nsid:external:measures' });
  });

  it.each([
    ['json', 'not json'],
    ['stream', { streamId: 'a;b' }],
    ['model', { model: 'a b' }],
    ['field', { value: { 'a.b': 1 } }],
    ['timestamp', { timestamp: 'yesterday' }],
    ['tags', { tags: 'abcdefghijk'.split('') }],
    ['size', { value: { text: 'x'.repeat((1 << 20) + 1) } }],
  ])('MQX-018 with a bad %s are acknowledged, audited and not stored', async (what, content) => {
    const clientId = `bad-data-${what}`;
    const client = await connectors.connect(clientId);
    await connectors.publish(client, DATA(`${clientId}-node`), content);
    expect(await around.audit('bad_message', clientId)).toMatchObject({
      source: { connector: 'x-connector', nodeId: `${clientId}-node` },
    });
    expect(around.messages.some(({ header }) => header.deviceId?.endsWith(`${clientId}-node`))).toBe(false);
  });

  it('keep the order of each node, whatever is known of it', async () => {
    const client = await connectors.connect('order');
    around.inventory.set('order', 'order-0', {}, true, 'x-connector');
    await connectors.publish(client, DATA('order-0'), marked('warm'));
    const count = 600;
    for (let i = 0; i < count; i++) {
      const nodeId = `order-${i % 4}`;
      client.publish(
        i % 8 < 4 ? DATA(nodeId) : STATUS(nodeId),
        JSON.stringify({ ...marked(`o${i}`), status: 'ONLINE', eventSequenceId: i }),
        i + 1,
      );
    }
    for (let i = 0; i < count; i++) expect((await client.next('puback')).messageId).toBe(i + 1);
    await around.message(`o${count - 5}`);
    for (let node = 0; node < 4; node++) {
      const deviceId = `urn:lo:nsid:x-connector:order-${node}`;
      const marks = around.messages
        .filter(({ header }) => header.deviceId === deviceId)
        .map(({ message }) => String(message.value!['mark']))
        .filter((mark) => mark !== 'warm')
        .map((mark) => Number(mark.slice(1)));
      expect(marks).toHaveLength(75);
      expect(marks).toEqual(marks.toSorted((a, b) => a - b));
      const told = connectors.events('nodeStatus', `order-${node}`).map((event) => Number(event['eventSequenceId']));
      expect(told).toHaveLength(75);
      expect(told).toEqual(told.toSorted((a, b) => a - b));
    }
    // Asked for once, whatever waited for the answer.
    expect(around.inventory.requests.filter(({ nodeId }) => nodeId === 'order-0')).toHaveLength(1);
  });

  it('of ten thousand nodes come through one connector', async () => {
    const client = await connectors.connect('many', 'umbrella');
    const nodes = 10_000;
    for (let i = 0; i < nodes; i++) around.inventory.set('umbrella', `m${i}`, {}, true, 'x-connector');
    const before = around.inventory.requests.length;
    for (const round of [0, 1]) {
      for (let i = 0; i < nodes; i++) client.publish(DATA(`m${i}`), JSON.stringify(marked(`${round}-m${i}`)), i + 1);
      await eventually(() => client.packets.length === nodes);
      client.packets.length = 0;
    }
    // The second round asks for nothing.
    expect(around.inventory.requests.length - before).toBe(nodes);
    await eventually(() => around.messages.filter(({ header }) => header.tenantId === 'umbrella').length === 2 * nodes);
  });
});

describe('nodes', () => {
  it('that cannot be registered are audited, and hold nobody up', async () => {
    const client = await connectors.connect('full', 'full-tenant');
    around.inventory.set('full-tenant', 'known', {});
    around.inventory.full = true;
    try {
      await connectors.publish(client, DATA('one-too-many'), marked('too many'));
      await connectors.publish(client, STATUS('one-too-many'), { status: 'ONLINE' });
      await connectors.publish(client, DATA('known'), marked('known in a full tenant'));
      await around.message('known in a full tenant');
      expect(await around.audit('not_registered', 'full')).toMatchObject({
        source: { connector: 'x-connector', nodeId: 'one-too-many' },
        description: expect.stringContaining('At most 10 devices'),
      });
    } finally {
      around.inventory.full = false;
    }
    await connectors.publish(client, DATA('one-too-many'), marked('room again'));
    await around.message('room again');
    expect(around.messages.some(({ message }) => message.value?.['mark'] === 'too many')).toBe(false);
  });

  it('wait, in order, while the inventory does not answer; others do not', async () => {
    const client = await connectors.connect('silence');
    await connectors.publish(client, DATA('heard-before'), marked('before the silence'));
    await connectors.publish(client, DATA('heard-before'), marked('known'));
    around.inventory.silent = true;
    client.publish(DATA('unheard'), JSON.stringify(marked('s1')), 101);
    client.publish(DATA('unheard'), JSON.stringify(marked('s2')), 102);
    client.publish(DATA('heard-before'), JSON.stringify(marked('not held up')), 103);
    await around.message('not held up');
    await client.ping();
    // The acknowledgement of a later publication waits for those before it.
    expect(client.packets.some(({ cmd }) => cmd === 'puback')).toBe(false);
    around.inventory.silent = false;
    for (const id of [101, 102, 103]) expect((await client.next('puback')).messageId).toBe(id);
    const marks = around.messages.map(({ message }) => message.value?.['mark']);
    expect(marks.indexOf('s1')).toBeGreaterThan(-1);
    expect(marks.indexOf('s2')).toBeGreaterThan(marks.indexOf('s1'));
  });

  it('that nobody knew are heard although the connector leaves at once', async () => {
    const client = await connectors.connect('hasty');
    client.publish(DATA('hasty'), JSON.stringify(marked('said in leaving')));
    client.send({ cmd: 'disconnect' } as Packet);
    await client.isClosed();
    await around.message('said in leaving');
  });

  it('XCN-008 that are disabled are not heard, from the moment it is announced until they are enabled', async () => {
    const client = await connectors.connect('disabled');
    await connectors.publish(client, DATA('switched'), marked('enabled'));
    await connectors.publish(client, DATA('switched'), marked('enabled, known'));
    around.inventory.set('disabled', 'switched', {}, false, 'x-connector');
    around.inventory.announce('disabled', 'switched', 'x-connector');
    await eventually(async () => {
      await connectors.publish(client, STATUS('switched'), { status: 'ONLINE' });
      return connectors.audits('disabled').includes('node_disabled');
    });
    const heard = connectors.events('nodeStatus', 'switched').length;
    await connectors.publish(client, STATUS('switched'), { status: 'OFFLINE' });
    await connectors.publish(client, DATA('switched'), marked('while disabled'));
    await connectors.publish(client, 'connector/v1/current/resource', {
      nodeId: 'switched',
      resources: { r: { version: '1' } },
    });
    await eventually(() => connectors.audits('disabled').filter((type) => type === 'node_disabled').length >= 4);
    expect((await around.audit('node_disabled', 'disabled')).source).toMatchObject({
      nodeId: 'switched',
      deviceId: 'urn:lo:nsid:x-connector:switched',
    });
    around.inventory.set('disabled', 'switched', {}, true, 'x-connector');
    around.inventory.announce('disabled', 'switched', 'x-connector');
    await eventually(async () => {
      await connectors.publish(client, DATA('switched'), marked('enabled again'));
      return around.messages.some(({ message }) => message.value?.['mark'] === 'enabled again');
    });
    expect(connectors.events('nodeStatus', 'switched')).toHaveLength(heard);
    expect(around.messages.some(({ message }) => message.value?.['mark'] === 'while disabled')).toBe(false);
  });

  it('are asked for again when the groups of their tenant change, and of no other', async () => {
    const group = { id: 'g1', path: '/g1' };
    const mine = await connectors.connect('groups', 'group-tenant');
    const other = await connectors.connect('groups', 'other-tenant');
    for (const client of [mine, other])
      for (const mark of ['registered', 'known']) await connectors.publish(client, DATA('grouped'), marked(mark));
    around.inventory.set('group-tenant', 'grouped', { group }, true, 'x-connector');
    const askedOf = (tenantId: string): number =>
      around.inventory.requests.filter((request) => request.tenantId === tenantId).length;
    const before = askedOf('other-tenant');
    around.inventory.announceGroups('group-tenant');
    await eventually(async () => {
      await connectors.publish(mine, DATA('grouped'), marked('moved'));
      await connectors.publish(other, DATA('grouped'), marked('not moved'));
      return around.messages.some(({ message }) => message.metadata.group?.path === '/g1');
    });
    expect(askedOf('other-tenant')).toBe(before);
  });
});
