import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eventually } from '@orrery/core/testing';
import { type EndToEnd, received, startEndToEnd } from './platform.js';

type Json = Record<string, unknown>;

const EVENTS = '/api/v0/eventprocessing';
const POLICIES = '/api/v1/event2action/actionPolicies';

/** What the platform makes of messages on their way, with real MQTT devices: decodes, transforms, finds, alarms, notifies. */
let e2e: EndToEnd;
let transformed: Json[];
let pushed: Array<{ body: string; policy: unknown }>;
const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks).toString();
    if (request.url === '/transform') {
      const message = JSON.parse(body) as { value: Json; model: string; tags: string[] };
      transformed.push(message);
      response.setHeader('content-type', 'application/json');
      const fahrenheit = Number(message.value['temperature']) * 1.8 + 32;
      response.end(JSON.stringify({ ...message, tags: ['transformed'], value: { ...message.value, fahrenheit } }));
      return;
    }
    pushed.push({ body, policy: request.headers['x-orange-lo-policy-id'] });
    response.end();
  });
});
let webhook: string;

beforeAll(async () => {
  transformed = [];
  pushed = [];
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  webhook = `http://127.0.0.1:${port}`;
  e2e = await startEndToEnd({ env: { ORRERY_WEBHOOK_ALLOW: `127.0.0.1:${port}` } });
});
afterAll(async () => {
  await e2e.stop();
  server.close();
});

async function create<Answer = { id: string }>(path: string, body: object): Promise<Answer> {
  const answer = await e2e.api.post<Answer>(path, body);
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}
async function provide(path: string, body: object): Promise<void> {
  expect((await e2e.api.put(`${EVENTS}/${path}`, body)).status).toBeLessThan(300);
}
const policy = (trigger: string, filter: object | undefined, actions: object): Promise<{ id: string }> =>
  create(POLICIES, {
    enabled: true,
    triggers: { [trigger]: { version: 1, ...(filter ? { filter } : {}) } },
    actions,
  });
const stored = (streamId: string, count: number): Promise<Json[]> =>
  eventually(async () => {
    const { body } = await e2e.api.get<Json[]>(`/api/v0/data/streams/${encodeURIComponent(streamId)}`);
    return body.length === count && body;
  });
async function fifo(name: string): Promise<ReturnType<typeof received>> {
  const application = await e2e.application();
  const messages = received(application);
  await application.subscribeAsync(`fifo/${name}`, { qos: 1 });
  return messages;
}

it('PIP-021 an encoded message is decoded, then transformed, and goes its whole way as the pipeline left it', async () => {
  await create('/api/v0/decoders/binary', {
    encoding: 'climate',
    enabled: true,
    format: 'short temperature; ubyte humidity;',
    template: '{"temperature": {{temperature}}/10, "humidity": {{humidity}}}',
    model: 'climate_v1',
  });
  const pipeline = await create('/api/v0/pipelines', {
    name: 'fahrenheit',
    priorityLevel: 1,
    enabled: true,
    filter: { encodings: ['climate'] },
    steps: [{ type: 'externalTransformation', url: `${webhook}/transform` }],
  });
  await create('/api/v0/topics/fifo', { name: 'climate' });
  const pushPolicy = await policy(
    'dataMessage',
    { deviceIds: ['urn:lo:nsid:mqtt:climate-1'] },
    {
      fifoPublish: [{ fifoName: 'climate' }],
      httpPush: [{ webhookUrl: `${webhook}/push`, content: '{"f": {{value.fahrenheit}}}', retryOnFailure: true }],
    },
  );
  const consumed = await fifo('climate');
  const device = await e2e.device('climate-1');
  // Who sends first may be faster than the news that there is a decoder.
  const value = { payload: '00DD2A', temperature: 22.1, humidity: 42, fahrenheit: 71.78 };
  let sent = 0;
  const first = await eventually(async () => {
    await device.publishAsync('dev/v1/data/binary/climate', Buffer.from('00DD2A', 'hex'), { qos: 1 });
    const messages = await stored('urn:lo:nsid:mqtt:climate-1', ++sent);
    return messages[0]!['model'] === 'climate_v1' && messages[0];
  });
  expect(first).toMatchObject({
    value: { ...value, fahrenheit: expect.closeTo(71.78) },
    tags: ['transformed'],
    metadata: {
      connector: 'mqtt',
      encoding: 'climate',
      group: { id: 'root', path: '/' },
      transformation: { pipeline: { id: pipeline.id, success: true } },
    },
  });
  expect(transformed.at(-1)).toMatchObject({
    type: 'dataMessage',
    value: { payload: '00DD2A', temperature: 22.1, humidity: 42 },
    metadata: { group: { path: '/' } },
  });
  await eventually(() => consumed.length === sent);
  expect(consumed.at(-1)!.payload).toMatchObject({ type: 'dataMessage', model: 'climate_v1', tags: ['transformed'] });
  await eventually(() => pushed.some((each) => each.policy === pushPolicy.id && JSON.parse(each.body).f > 71));
  const found = await eventually(async () => {
    const answer = await e2e.api.post<Json[]>('/api/v1/data/search/hits', {
      query: { range: { '@climate_v1.value.temperature': { gt: 22 } } },
    });
    return answer.body.length > 0 && answer.body;
  });
  expect(found[0]).toMatchObject({ streamId: 'urn:lo:nsid:mqtt:climate-1', value: { humidity: 42 } });
});

it('a script decodes what a device sends, one that does not end decodes nothing and delays nobody', async () => {
  const script = (body: string): string => `function decode(payload) { ${body} }`;
  const level = 'var n = parseInt(payload, 16); return { level: n & 127, alarm: n > 127 };';
  for (const [encoding, body] of [
    ['level', level],
    ['endless', 'for (;;);'],
  ] as const)
    await create('/api/v0/decoders/javascript', { encoding, enabled: true, script: script(body), model: encoding });
  const device = await e2e.device('tank-1');
  const send = (encoding: string): Promise<unknown> =>
    device.publishAsync(`dev/v1/data/binary/${encoding}`, Buffer.from([0x83]), { qos: 1 });
  await eventually(async () => {
    await send('level');
    const { body } = await e2e.api.get<Json[]>('/api/v0/data/streams/urn:lo:nsid:mqtt:tank-1');
    return body[0]?.['model'] === 'level';
  });
  await send('endless');
  await send('level');
  const messages = await eventually(async () => {
    const { body } = await e2e.api.get<Json[]>('/api/v0/data/streams/urn:lo:nsid:mqtt:tank-1');
    const endless = body.findIndex(({ metadata }) => (metadata as Json)['encoding'] === 'endless');
    return endless > 0 && body;
  });
  expect(messages[0]).toMatchObject({ model: 'level', value: { payload: '83', level: 3, alarm: true } });
  expect(messages[1]).toMatchObject({ value: { payload: '83' } });
  expect(messages[1]!['model']).toBeUndefined();
});

it('use case 1: NTF-008 a motion at night is told by SMS, and not again for two minutes', async () => {
  const hour = { get_utc_hours: [{ var: 'timestamp' }] };
  const matching = await create(`${EVENTS}/matching-rule`, {
    name: 'motion at night',
    enabled: true,
    dataPredicate: {
      and: [{ '==': [{ var: 'value.motionSensorDetection' }, 1] }, { or: [{ '>=': [hour, 20] }, { '<': [hour, 6] }] }],
    },
  });
  const firing = await create(`${EVENTS}/firing-rule`, {
    name: 'not too often',
    enabled: true,
    matchingRuleIds: [matching.id],
    aggregationKeys: ['metadata.source'],
    firingType: 'SLEEP',
    sleepDuration: 'PT2M',
  });
  await policy(
    'matchingFired',
    { ruleIds: [firing.id] },
    {
      sms: [
        {
          destinationPhoneNumbers: ['+33612345667'],
          contentTemplate:
            'Motion detection! Sensor: {{matchingContext.data.metadata.network.mqtt.clientId}} at {{matchingContext.data.timestamp}}',
        },
      ],
    },
  );
  const sensor = await e2e.device('1234qfre');
  for (const timestamp of ['2019-09-06T08:58:10.953Z', '2019-09-06T23:58:10.953Z', '2019-09-06T23:58:20.953Z'])
    await sensor.publishAsync(
      'dev/data',
      JSON.stringify({ model: 'demoDevGuide', value: { motionSensorDetection: 1 }, timestamp }),
      { qos: 1 },
    );
  await stored('event:urn:lo:nsid:mqtt:1234qfre', 1);
  const sms = await eventually(async () => {
    const { body } = await e2e.api.get<Json[]>('/api/v1/event2action/sms');
    return body.length > 0 && body;
  });
  expect(sms).toMatchObject([
    {
      destinationPhoneNumber: '+33612345667',
      content: 'Motion detection! Sensor: 1234qfre at 2019-09-06T23:58:10.953Z',
    },
  ]);
});

it('use case 2: a tracker that moves from zone to zone is followed in a FIFO', async () => {
  const zones = {
    'san-francisco': [[-123.019952, 38.358596], [-120.954523, 38.306889], [-121.789484, 37.12499], [-123.019952, 38.358596]], // prettier-ignore
    'los-angeles': [[-118.909873, 34.238622], [-117.747086, 34.346562], [-117.551111, 33.620728], [-118.269687, 33.533648], [-118.909873, 34.238622]], // prettier-ignore
    transportation1: [[-122.05261237, 37.561997], [-118.154639, 34.059617], [-119.203276, 34.102708], [-122.641996, 37.440666], [-122.05261237, 37.561997]], // prettier-ignore
    transportation2: [[-121.3220217, 37.8705177], [-118.027739, 34.309766], [-118.377685, 33.679366], [-121.662597, 37.714244], [-121.3220217, 37.8705177]], // prettier-ignore
  };
  for (const [id, ring] of Object.entries(zones))
    await provide(`geozones/${id}`, { geometry: { type: 'Polygon', coordinates: [ring] } });
  const tracker = 'urn:lo:nsid:mqtt:truck-1';
  await provide('context/shipment', { contextData: 'san-francisco' });
  await provide('context/transportation', { contextData: ['transportation1', 'transportation2'] });
  await provide('context/delivery', { contextData: 'los-angeles' });
  await provide('context/device-group', { contextData: [tracker] });
  const inside = (keys: unknown): object => ({
    inside: [{ var: 'location.lon' }, { var: 'location.lat' }, { ctx: { ctx: keys } }],
  });
  const rule = await create(`${EVENTS}/stateprocessing-rule`, {
    name: 'geo tracking',
    enabled: true,
    stateKeyPath: 'metadata.source',
    filterPredicate: { in: [{ var: 'metadata.source' }, { ctx: 'device-group' }] },
    stateFunction: {
      if: [
        inside('shipment'),
        'shipment_zone',
        inside(['transportation']),
        'transportation_zone',
        inside('delivery'),
        'delivery_zone',
        'unknown_zone',
      ],
    },
  });
  await create('/api/v0/topics/fifo', { name: 'tracking' });
  await policy('stateChange', { ruleIds: [rule.id] }, { fifoPublish: [{ fifoName: 'tracking' }] });
  const events = await fifo('tracking');
  const truck = await e2e.device('truck-1');
  for (const [lon, lat] of [
    [-122.169846, 37.602902],
    [-121.562765, 36.969311],
    [-118.154555, 33.881571],
  ])
    await truck.publishAsync('dev/data', JSON.stringify({ model: 'lora_v0', location: { lon, lat }, value: {} }), {
      qos: 1,
    });
  await eventually(() => events.length === 3);
  expect(events.map(({ payload }) => [payload['stateKey'], payload['previousState'], payload['newState']])).toEqual([
    [tracker, null, 'shipment_zone'],
    [tracker, 'shipment_zone', 'transportation_zone'],
    [tracker, 'transportation_zone', 'delivery_zone'],
  ]);
});

it('use case 3: high levels of a pollutant are pushed to a webhook when the day before was bad too', async () => {
  const level = { var: 'value.NO2' };
  await provide('context/no2-alert-threshold-2', { contextData: 200 });
  await provide('context/no2-previous-day-medium-level-reached', { contextData: true, tags: ['previous day'] });
  const matching = await create(`${EVENTS}/matching-rule`, {
    name: 'no2-alert-level-reached-threshold2',
    enabled: true,
    dataPredicate: {
      and: [
        { '>': [level, { ctx: 'no2-alert-threshold-2' }] },
        { '==': [{ ctx: 'no2-previous-day-medium-level-reached' }, true] },
        { '==': [{ var: 'value.type' }, 'hourly'] },
      ],
    },
  });
  const firing = await create(`${EVENTS}/firing-rule`, {
    name: 'ALERT',
    enabled: true,
    matchingRuleIds: [matching.id],
    aggregationKeys: ['streamId'],
    firingType: 'ALWAYS',
  });
  const { id } = await policy(
    'matchingFired',
    { ruleIds: [firing.id] },
    {
      httpPush: [
        {
          webhookUrl: `${webhook}/alert`,
          content:
            '{"text": "{{firingRule.name}}: NO2 {{matchingContext.data.value.NO2}} at {{matchingContext.data.streamId}}"}',
          retryOnFailure: true,
        },
      ],
    },
  );
  // Fires for each message: then all rules have looked at it.
  const any = await create(`${EVENTS}/matching-rule`, {
    name: 'measured',
    enabled: true,
    dataPredicate: { '>': [level, 0] },
  });
  await create(`${EVENTS}/firing-rule`, {
    name: 'measured',
    enabled: true,
    matchingRuleIds: [any.id],
    firingType: 'ALWAYS',
  });
  const evaluated = (NO2: number): Promise<unknown> =>
    eventually(async () => {
      const { body } = await e2e.api.get<Json[]>('/api/v0/data/streams/event:paris-centre-hourly');
      return body.some((event) => JSON.stringify(event).includes(`"NO2":${NO2}`));
    });
  const station = await e2e.device('paris-centre');
  const measure = (NO2: number): Promise<unknown> =>
    station.publishAsync(
      'dev/data',
      JSON.stringify({ streamId: 'paris-centre-hourly', model: 'model_hourly', value: { type: 'hourly', NO2 } }),
      { qos: 1 },
    );
  await measure(201);
  await measure(199);
  const alerts = (): string[] => pushed.filter((each) => each.policy === id).map(({ body }) => body);
  await eventually(() => alerts().length === 1);
  // The context is changed: the next message is looked at with it.
  await provide('context/no2-previous-day-medium-level-reached', { contextData: false });
  await measure(250);
  await evaluated(250);
  await provide('context/no2-previous-day-medium-level-reached', { contextData: true });
  await measure(300);
  await eventually(() => alerts().some((body) => body.includes('300')));
  expect(alerts()).toEqual([
    '{"text": "ALERT: NO2 201 at paris-centre-hourly"}',
    '{"text": "ALERT: NO2 300 at paris-centre-hourly"}',
  ]);
});
