import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Ingestion } from '@orrery/core/ingestion';
import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { buildMessage, type DataMessage, type Location } from '@orrery/core/messages';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import { decoder } from '@orrery/decoder';
import { pipeline } from '@orrery/pipeline';
import { store } from '@orrery/store';

// Where a message says that its device is (manual 15.3), through decoder and pipeline, as the connector of a network that
// locates its devices sends it.

const NETWORK: Location = { lat: 48.798023, lon: 2.295066, alt: 0, accuracy: 10_000, provider: 'lora' };
const STATIC = { lat: 48.82198, lon: 3.545599 };
const DECODED = { lat: 48.76212, lon: -3.46902 };
const PUBLISHED: Location = { lat: 48.86667, lon: 2.33333, provider: 'My_embedded_GPS' };
const CUSTOM: Location = { lat: 48.80138888888889, lon: 2.2938888888888886, accuracy: 412, provider: 'custom' };

/** Sources of a message. A pipeline that answers without location is `null`. */
interface Sources {
  network?: boolean;
  static?: boolean;
  decoded?: boolean;
  published?: boolean;
  external?: boolean | null;
}

let backend: Backend;
let api: ApiClient;
let ingestion: Ingestion;
let sent = 0;
const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const { location: _replaced, ...message } = JSON.parse(Buffer.concat(chunks).toString()) as DataMessage;
    const located = message.tags.includes('located');
    response.end(JSON.stringify({ ...message, ...(located ? { location: CUSTOM } : {}) }));
  });
});

/** Sends a message with these sources, and returns it as it is stored. */
async function stored(sources: Sources): Promise<DataMessage> {
  const deviceId = `urn:lo:nsid:lora:${(++sent).toString(16).toUpperCase().padStart(16, '0')}`;
  const external = sources.external === undefined ? [] : ['external', ...(sources.external ? ['located'] : [])];
  const { header, message } = buildMessage(
    {
      tags: external,
      value: { payload: sources.decoded ? `${DECODED.lat},${DECODED.lon}` : 'nowhere' },
      metadata: {},
      ...(sources.published ? { location: PUBLISHED } : {}),
    },
    {
      tenantId: 'tenant',
      connector: 'lora',
      network: { lora: { devEUI: 'x', ...(sources.network ? { location: NETWORK } : {}) } },
      ...(sources.network ? { networkLocation: NETWORK } : {}),
      device: {
        deviceId,
        defaultDataStreamId: `${deviceId}!uplink`,
        tags: [],
        properties: {},
        group: { id: 'root', path: '/' },
        encoding: 'place',
        ...(sources.static ? { staticLocation: STATIC } : {}),
      },
    },
  );
  await ingestion.publish(header, message);
  return eventually(async () => (await api.get<DataMessage[]>(`/api/v0/data/streams/${header.streamId}`)).body[0]);
}

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const services = [store, decoder, pipeline];
  backend = await startBackend(services, { ORRERY_WEBHOOK_ALLOW: `127.0.0.1:${port}` });
  const bus = await backend.bus();
  const { value } = keyRing(bus).grant('tenant', { limits: UNLIMITED_OFFER });
  api = apiClient((await backend.boot(services)).url, value);
  ingestion = new Ingestion(bus);
  await ingestion.start();
  const made = [
    await api.post('/api/v0/decoders/csv', {
      encoding: 'place',
      enabled: true,
      columns: [
        { name: 'lat', jsonType: 'NUMERIC' },
        { name: 'lon', jsonType: 'NUMERIC' },
      ],
      template: '{"location": {"lat": {{lat}}, "lon": {{lon}}}}',
    }),
    await api.post('/api/v0/pipelines', {
      name: 'locate',
      priorityLevel: 1,
      enabled: true,
      filter: { tags: [['external']] },
      steps: [{ type: 'externalTransformation', url: `http://127.0.0.1:${port}/` }],
    }),
  ];
  expect(made.map(({ status }) => status)).toEqual([201, 201]);
  // The stages are known as soon as one message has gone through both.
  await eventually(async () => (await stored({ decoded: true, external: true })).metadata.transformation?.external);
  await eventually(async () => (await stored({ decoded: true })).metadata.transformation?.decoder);
});
afterAll(async () => {
  await ingestion.close();
  await backend.stop();
  server.close();
});

it('LOC-008 is where the network has found the device when nothing else is known', async () => {
  const { location, metadata } = await stored({ network: true });
  expect(location).toEqual(NETWORK);
  expect(metadata.network).toEqual({ lora: { devEUI: 'x', location: NETWORK } });
});

it('LOC-009 is the static location of the device, and what the network says stays in the metadata', async () => {
  const { location, metadata } = await stored({ network: true, static: true });
  expect(location).toEqual({ provider: 'static', ...STATIC });
  expect(metadata).toMatchObject({ network: { lora: { location: NETWORK } }, device: { location } });
});

it('LOC-011 is that of the best source there is', async () => {
  const all: Sources = { network: true, static: true, decoded: true, published: true, external: true };
  const found = [];
  for (const sources of [
    all,
    { ...all, external: undefined },
    { network: true, decoded: true, published: true },
    { network: true, published: true },
    { network: true },
    {},
    { ...all, external: null },
  ] as Sources[])
    found.push((await stored(sources)).location);
  expect(found).toEqual([
    CUSTOM,
    { provider: 'static', ...STATIC },
    { provider: 'device', ...DECODED },
    PUBLISHED,
    NETWORK,
    undefined,
    undefined,
  ]);
});

it('keeps every source in the metadata', async () => {
  const { metadata } = await stored({ network: true, static: true, decoded: true, published: true, external: true });
  expect(metadata).toMatchObject({
    network: { lora: { location: NETWORK } },
    device: { location: { provider: 'static', ...STATIC } },
    transformation: {
      published: { location: PUBLISHED },
      decoder: { location: { provider: 'device', ...DECODED } },
      external: { location: CUSTOM },
      pipeline: { success: true },
    },
  });
});
