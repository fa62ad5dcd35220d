import { createHash } from 'node:crypto';
import { type Bus, callRpc, RpcError } from '@orrery/core/bus';
import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { decodeEntry } from '@orrery/core/messages';
import {
  type ApiAnswer,
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
} from '@orrery/core/testing';
import { changeByDevice, type DeviceChange, findDeviceAccess } from '../contract.js';
import type { DeviceView } from '../devices/device.dto.js';
import { deviceManager } from '../index.js';
import { DEVICES, refusal } from '../testing/inventory.js';
import type { RegistrationView } from './registration.dto.js';

let backend: Backend;
let bus: Bus;
let keys: KeyRing;
let urls: string[];
let api: ApiClient;
let keyId: string;
const changes: DeviceChange[] = [];
beforeAll(async () => {
  backend = await startBackend([deviceManager]);
  bus = await backend.bus();
  keys = keyRing(bus);
  bus.connection.subscribe('control.device', {
    callback: (_, { data }) =>
      void changes.push(...decodeEntry(data).map(({ header }) => JSON.parse(header) as DeviceChange)),
  });
  urls = [(await backend.boot([deviceManager])).url, (await backend.boot([deviceManager])).url];
  const key = keys.grant('acme', { limits: UNLIMITED_OFFER });
  keyId = key.id;
  api = apiClient(urls[0]!, key.value);
});
afterAll(() => backend.stop());

const PATH = '/v1/devices/register';
const register = async (body: object, as = api): Promise<RegistrationView> => {
  const answer = await as.post<RegistrationView>(PATH, body);
  expect([answer.status, answer.body]).toEqual([200, expect.anything()]);
  return answer.body;
};
const access = async (id: string) => (await callRpc(bus, findDeviceAccess, { id })).access;
const device = async (id: string): Promise<DeviceView> =>
  (await api.get<DeviceView>(`${DEVICES}/urn:lo:nsid:mqtt:${id}`)).body;
const hash = (text: string): string => createHash('sha256').update(text).digest('hex');
let serials = 0;
const serial = (): string => `SN-${++serials}`;

describe('registration', () => {
  it('answers where to connect and with what, keeps a hash alone, and tells who registered', async () => {
    const sn = serial();
    const told = await register({ name: 'Panel 1', sn, mac: '00:1A:2B:3C:4D:5E', firmware_version: '1.0.7' });
    expect(told).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
      access_key: expect.stringMatching(/^[\w-]{43}$/),
      hub_url: 'http://localhost:8080',
      mqtt_hub_url: 'mqtts://localhost:0',
    });
    expect(await access(told.id)).toEqual({ tenantId: 'acme', keyHash: hash(told.access_key), apiKeyId: keyId });
    const rows = await backend.query('SELECT * FROM device_manager.device_accesses WHERE id = $1', [told.id]);
    expect(JSON.stringify(rows)).not.toContain(told.access_key);
    expect(await device(told.id)).toMatchObject({
      id: `urn:lo:nsid:mqtt:${told.id}`,
      name: 'Panel 1',
      description: `This device registered itself with serial number ${sn} and MAC address 001a2b3c4d5e`,
      interfaces: [{ connector: 'mqtt', nodeId: told.id, enabled: true, status: 'REGISTERED' }],
    });
  });

  it('gives the same serial number or address its id again with another key, and says that the old one ended', async () => {
    const sn = serial();
    const first = await register({ name: 'Panel 2', sn, mac: 'AA:BB:CC:00:00:01' });
    changes.length = 0;
    const second = await register({ name: 'another', sn });
    const third = await register({ mac: 'aabb-cc00-0001' });
    expect([second.id, third.id]).toEqual([first.id, first.id]);
    expect(new Set([first, second, third].map((each) => each.access_key)).size).toBe(3);
    expect((await access(first.id))!.keyHash).toBe(hash(third.access_key));
    expect((await device(first.id)).name).toBe('Panel 2');
    await eventually(() => changes.length >= 2);
    expect(changes[0]).toEqual({
      tenantId: 'acme',
      deviceId: `urn:lo:nsid:mqtt:${first.id}`,
      nodes: [{ connector: 'mqtt', nodeId: first.id }],
    });
  });

  it('keeps devices of the same serial number in two tenants apart', async () => {
    const sn = serial();
    const other = apiClient(urls[0]!, keys.grant('globex').value);
    const mine = await register({ sn });
    const theirs = await register({ sn }, other);
    expect(theirs.id).not.toBe(mine.id);
    expect((await access(theirs.id))!.tenantId).toBe('globex');
  });

  it('registers a device once that asks two instances at the same time', async () => {
    const sn = serial();
    const value = keys.grant('acme', { limits: UNLIMITED_OFFER }).value;
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) => apiClient(urls[i % 2]!, value).post<RegistrationView>(PATH, { sn })),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1);
    const { id } = answers[0]!.body;
    const { keyHash } = (await access(id))!;
    expect(answers.map(({ body }) => hash(body.access_key))).toContain(keyHash);
  });

  it('takes the key of the body when the header has none', async () => {
    const { value, id } = keys.grant('acme', { limits: UNLIMITED_OFFER, roles: ['DEVICE_ACCESS'] });
    const anybody = apiClient(urls[0]!);
    const told = await register({ sn: serial(), hardware_key: value }, anybody);
    expect(await access(told.id)).toMatchObject({ apiKeyId: id });
    const refused = (body: unknown): Promise<ApiAnswer<unknown>> => anybody.post(PATH, body);
    for (const body of [
      { sn: 'x' },
      { sn: 'x', hardware_key: 'unknown' },
      { sn: 'x', hardware_key: [value] },
      '"x"',
      '{',
    ])
      expect(refusal(await refused(body))).toEqual([403, 'FORBIDDEN']);
    const reader = keys.grant('acme', { roles: ['DEVICE_R'] }).value;
    expect(refusal(await refused({ sn: 'x', hardware_key: reader }))).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);
    expect(refusal(await apiClient(urls[0]!, 'unknown').post(PATH, { sn: 'x', hardware_key: value }))).toEqual([
      403,
      'FORBIDDEN',
    ]);
    expect((await anybody.post(PATH, { sn: 'x'.repeat(100_000), hardware_key: value })).status).toBe(413);
  });

  it('limits requests whose key is in the body like all others', async () => {
    const { value } = keys.grant('acme', { limits: { ...UNLIMITED_OFFER, httpPerKeyMinute: 1 } });
    const anybody = apiClient(urls[0]!);
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++)
      statuses.push((await anybody.post(PATH, { sn: 'limited', hardware_key: value })).status);
    expect(statuses).toContain(429);
  });

  it.each([
    [{}, ['mac', 'sn']],
    [{ sn: '' }, ['sn']],
    [{ sn: 7 }, ['sn']],
    [{ mac: '::' }, ['mac']],
    [{ sn: 'a\0b' }, ['sn']],
    [{ sn: 'x', name: ['n'] }, ['name']],
    [{ sn: 'x', firmware_version: 1 }, ['firmware_version']],
  ])('refuses %j and names what is wrong', async (body, fields) => {
    expect(refusal(await api.post(PATH, body))).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR', fields]);
  });

  it('refuses a serial number and an address of two devices, and what the offer does not allow', async () => {
    const [a, b] = [serial(), serial()];
    await register({ sn: a, mac: '00:00:00:00:00:01' });
    await register({ sn: b, mac: '00:00:00:00:00:02' });
    expect(refusal(await api.post(PATH, { sn: a, mac: '00:00:00:00:00:02' }))).toEqual([409, 'CONFLICT']);
    const full = apiClient(urls[0]!, keys.grant('small', { limits: { ...UNLIMITED_OFFER, devices: 1 } }).value);
    await register({ sn: a }, full);
    expect(refusal(await full.post(PATH, { sn: b }))).toEqual([403, 'GENERIC_QUOTA_EXCEEDED_ERROR']);
    await register({ sn: a }, full);
    const without = apiClient(urls[0]!, keys.grant('acme', { disabledSections: ['mqtt'] }).value);
    expect(refusal(await without.post(PATH, { sn: a }))).toEqual([403, 'GENERIC_OFFER_DISABLED_ERROR']);
  });

  it('ends with the device; an interface that was deleted comes back', async () => {
    const sn = serial();
    const { id } = await register({ sn });
    const path = `${DEVICES}/urn:lo:nsid:mqtt:${id}`;
    expect((await api.delete(`${path}/interfaces/mqtt:${id}`)).status).toBe(204);
    expect((await register({ sn })).id).toBe(id);
    expect((await device(id)).interfaces).toHaveLength(1);
    expect((await api.delete(path)).status).toBe(204);
    expect(await access(id)).toBeNull();
    expect((await register({ sn })).id).not.toBe(id);
  });
});

describe('what devices change of themselves', () => {
  it('is all of it or nothing, with the limits of the offer', async () => {
    const { id } = await register({ sn: serial() });
    const asked = { tenantId: 'acme', deviceId: `urn:lo:nsid:mqtt:${id}`, nodeId: id, limits: { deviceProperties: 2 } };
    const set = (name: string, value: string, more: object = {}): Promise<unknown> =>
      callRpc(bus, changeByDevice, { ...asked, property: { name, value }, ...more });
    await set('a', '1', { name: 'named' });
    await set('b', '');
    await set('a', '2');
    for (const refused of [set('c', '3', { name: 'other' }), set('a', 'x'.repeat(1025)), set('', 'x'), set('a', '\0')])
      await expect(refused).rejects.toBeInstanceOf(RpcError);
    expect(await device(id)).toMatchObject({ name: 'named', properties: { a: '2', b: '' } });
    await expect(callRpc(bus, changeByDevice, { ...asked, tenantId: 'globex', name: 'theirs' })).rejects.toMatchObject({
      code: 'DM_DEVICE_NOT_FOUND',
    });
  });
});
