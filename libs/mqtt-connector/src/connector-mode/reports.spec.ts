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

describe('answers and reports', () => {
  const COMMAND = 'connector/v1/responses/command';
  const CONFIGURATION = 'connector/v1/responses/configuration';
  const CURRENT = 'connector/v1/current/configuration';
  const RESOURCE = 'connector/v1/responses/resource';
  const VERSIONS = 'connector/v1/current/resource';
  const deep = `${'['.repeat(5000)}${']'.repeat(5000)}`;
  const parameter = (type: unknown, value: unknown): object => ({ nodeId: 'r', parameters: { p: { type, value } } });

  it('go to device management as they are', async () => {
    const client = await connectors.connect('reports');
    const node = {
      connector: 'x-connector',
      nodeId: 'r1',
      deviceId: 'urn:lo:nsid:x-connector:r1',
      timestamp: expect.any(String),
    };
    const parameters = {
      a: { type: 'INT32', value: -2147483648 },
      b: { type: 'UINT32', value: 4294967295 },
      c: { type: 'FLOAT', value: 0.45562329946543 },
      d: { type: 'STRING', value: 'été ☀' },
      e: { type: 'BINARY', value: 'WldGbE16QXdtRmlPV1pt' },
    };
    await connectors.publish(client, CURRENT, { nodeId: 'r1', parameters });
    const [report] = await eventually(() => connectors.events('configurationReport', 'r1'));
    expect(report).toEqual({ type: 'configurationReport', ...node, parameters });

    const outOfRange = { p: { type: 'UINT32', value: -1 }, q: { type: 'INT32', value: 'text' } };
    await connectors.publish(client, CONFIGURATION, { nodeId: 'r1', targetVersion: 363745365, parameters: outOfRange });
    const [response] = await eventually(() => connectors.events('configurationResponse', 'r1'));
    expect(response).toEqual({
      type: 'configurationResponse',
      ...node,
      targetVersion: 363745365,
      parameters: outOfRange,
    });

    const id = '0f1253df-9b34-4e97-8e1e-457317107271';
    await connectors.publish(client, COMMAND, { id, nodeId: 'r1', response: { status: 'ok', message: { level: 75 } } });
    await connectors.publish(client, COMMAND, { id, nodeId: 'r1' });
    await eventually(() => connectors.events('commandResponse', 'r1').length === 2);
    expect(connectors.events('commandResponse', 'r1')).toEqual([
      { type: 'commandResponse', ...node, id, response: { status: 'ok', message: { level: 75 } } },
      { type: 'commandResponse', ...node, id },
    ]);

    const error = { code: 'myErrorCode', details: 'myErrorDetails' };
    await connectors.publish(client, RESOURCE, { nodeId: 'r1', updateCorrelationId: 'u1', status: 'FAILED', error });
    await connectors.publish(client, RESOURCE, {
      nodeId: 'r1',
      updateCorrelationId: 'u2',
      status: 'FAILED',
      error: null,
    });
    await eventually(() => connectors.events('resourceFailure', 'r1').length === 2);
    expect(connectors.events('resourceFailure', 'r1')).toEqual([
      { type: 'resourceFailure', ...node, updateCorrelationId: 'u1', error },
      { type: 'resourceFailure', ...node, updateCorrelationId: 'u2', error: {} },
    ]);

    const resources = { my_specific_resource: { version: '1.0' }, my_firmware: { version: '3.2' } };
    await connectors.publish(client, VERSIONS, { nodeId: 'r1', resources });
    const [versions] = await eventually(() => connectors.events('resourceReport', 'r1'));
    expect(versions).toEqual({ type: 'resourceReport', ...node, resources });
    expect(connectors.audits('reports')).toEqual([]);
  });

  it.each([
    ['a command response that is no JSON', COMMAND, '{"id":'],
    ['a command response without id', COMMAND, { nodeId: 'r' }],
    ['a command response without node', COMMAND, { id: '1' }],
    ['a command response with an id that cannot be looked up', COMMAND, { id: 'a\u0000', nodeId: 'r' }],
    ['a command response of five thousand levels', COMMAND, `{"id":"1","nodeId":"r","response":${deep}}`],
    ['a configuration response without version', CONFIGURATION, parameter('INT32', 1)],
    ['a configuration response without parameters', CONFIGURATION, { nodeId: 'r', targetVersion: 1, parameters: {} }],
    ['a current configuration without parameters', CURRENT, { nodeId: 'r' }],
    ['a UINT32 beyond its range', CURRENT, parameter('UINT32', 4294967296)],
    ['a negative UINT32', CURRENT, parameter('UINT32', -1)],
    ['an INT32 beyond its range', CURRENT, parameter('INT32', 2147483648)],
    ['an INT32 with a fraction', CURRENT, parameter('INT32', 1.5)],
    ['a STRING that is a number', CURRENT, parameter('STRING', 12)],
    ['a FLOAT that is a text', CURRENT, parameter('FLOAT', '1')],
    ['a BINARY that is no base64', CURRENT, parameter('BINARY', '***')],
    ['an unknown type', CURRENT, parameter('TIMESTAMP', 1)],
    ['a parameter without value', CURRENT, parameter('INT32', undefined)],
    ['a parameter that starts with $', CURRENT, { nodeId: 'r', parameters: { $p: { type: 'INT32', value: 1 } } }],
    ['a parameter __proto__', CURRENT, '{"nodeId":"r","parameters":{"__proto__":{"type":"INT32","value":1}}}'],
    ['another resource status', RESOURCE, { nodeId: 'r', updateCorrelationId: 'u', status: 'OK' }],
    ['a resource response without update', RESOURCE, { nodeId: 'r', status: 'FAILED' }],
    [
      'an error code of another type',
      RESOURCE,
      { nodeId: 'r', updateCorrelationId: 'u', status: 'FAILED', error: { code: 1 } },
    ],
    ['a version that is a number', VERSIONS, { nodeId: 'r', resources: { my_firmware: { version: 3.2 } } }],
    ['a list of resources', VERSIONS, { nodeId: 'r', resources: ['my_firmware'] }],
  ])('are acknowledged, ignored and audited with %s', async (what, topic, content) => {
    const clientId = `bad-${what.replaceAll(/\W/g, '-')}`;
    const client = await connectors.connect(clientId);
    await connectors.publish(client, topic, content);
    expect((await around.audit('bad_message', clientId)).description).toMatch(/ refused: .*expected/);
    for (const type of [
      'commandResponse',
      'configurationResponse',
      'configurationReport',
      'resourceFailure',
      'resourceReport',
    ])
      expect(connectors.events(type, 'r')).toEqual([]);
  });

  it('register a node by what it reports, and not by what it answers', async () => {
    const client = await connectors.connect('unknown');
    await connectors.publish(client, COMMAND, { id: '1', nodeId: 'nobody' });
    await connectors.publish(client, RESOURCE, { nodeId: 'nobody', updateCorrelationId: 'u', status: 'FAILED' });
    await eventually(() => connectors.audits('unknown').filter((type) => type === 'unknown_node').length === 2);
    const asked = around.inventory.requests.filter(({ nodeId }) => nodeId === 'nobody');
    expect(asked.some(({ autoRegister }) => autoRegister)).toBe(false);
    client.publish(COMMAND, '{"id":"2","nodeId":"nobody"}', 201);
    client.publish(VERSIONS, '{"nodeId":"nobody","resources":{"r":{"version":"1"}}}', 202);
    client.publish(COMMAND, '{"id":"3","nodeId":"nobody"}', 203);
    await eventually(() => connectors.events('commandResponse', 'nobody').length === 1);
    expect(connectors.events('commandResponse', 'nobody')[0]).toMatchObject({ id: '3' });
    expect(connectors.events('resourceReport', 'nobody')).toHaveLength(1);
  });

  it('of one tenant are never of another', async () => {
    const mine = await connectors.connect('tenant-1', 'tenant-1');
    const other = await connectors.connect('tenant-2', 'tenant-2');
    await connectors.publish(mine, STATUS('same-node'), { status: 'ONLINE' });
    await connectors.publish(other, STATUS('same-node'), { status: 'OFFLINE' });
    await connectors.publish(other, DATA('same-node'), marked('of tenant 2'));
    await around.message('of tenant 2');
    const told = around.events
      .filter(({ event }) => event.nodeId === 'same-node' && (event.type as string) === 'nodeStatus')
      .map(({ header, event }) => [header.tenantId, (event as unknown as { status: string }).status]);
    expect(told.sort()).toEqual([
      ['tenant-1', 'ONLINE'],
      ['tenant-2', 'OFFLINE'],
    ]);
    const [message] = around.messages.filter(({ message }) => message.value?.['mark'] === 'of tenant 2');
    expect(message!.header.tenantId).toBe('tenant-2');
  });
});
