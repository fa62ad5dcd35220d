import { callRpc } from '@orrery/core/bus';
import type { ApiClient } from '@orrery/core/testing';
import { deviceLicenses, type LicenseReport, reportLicense } from '../contract.js';
import { type Inventory, refusal, startInventory } from '../testing/inventory.js';
import type { LicenseView } from './license.dto.js';

let inventory: Inventory;
let api: ApiClient;
beforeAll(async () => {
  inventory = await startInventory();
  api = inventory.client('tenantA');
});
afterAll(() => inventory.backend.stop());

const LICENSE = { data: 'device-specific ✓', signature: 'RSA' };
const idOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
const list = async (path: string): Promise<LicenseView[]> => (await api.get<LicenseView[]>(`${path}/licenses`)).body;

it('keeps data and signature as they are, counts operations and notes what the device answers', async () => {
  const path = await inventory.newDevice();
  const bus = await inventory.backend.bus();
  const device = { tenantId: 'tenantA', deviceId: idOf(path) };
  const created = await api.post<LicenseView>(`${path}/licenses`, LICENSE);
  expect(created).toMatchObject({ status: 201, body: { ...LICENSE, operation: 'add', state: 'pending' } });
  const { id } = created.body;
  const report = (state: LicenseReport['state'], error?: string): Promise<unknown> =>
    callRpc(bus, reportLicense, { ...device, id, state, ...(error === undefined ? {} : { error }) });
  await report('error', 'no room');
  expect(await list(path)).toMatchObject([{ id, state: 'error', error: 'no room' }]);
  const updated = await api.put(`${path}/licenses/${id}`, { data: 'new', signature: 'S' });
  expect(updated.body).toMatchObject({ data: 'new', signature: 'S', operation: 'update', state: 'pending' });
  expect(updated.body).not.toHaveProperty('error');
  await report('done');
  expect(await list(path)).toMatchObject([{ state: 'inuse', operation: 'update' }]);
  expect(await callRpc(bus, deviceLicenses, device)).toEqual([
    { id, data: 'new', signature: 'S', operation: 'update', revision: 2 },
  ]);
  expect((await api.delete(`${path}/licenses/${id}`)).status).toBe(202);
  expect(refusal(await api.put(`${path}/licenses/${id}`, LICENSE))).toEqual([409, 'CONFLICT']);
  // Of the update: the removal is still to be done.
  await report('inuse');
  expect(await callRpc(bus, deviceLicenses, device)).toMatchObject([{ operation: 'remove', revision: 3 }]);
  await report('done');
  expect(await list(path)).toMatchObject([{ state: 'removed' }]);
  expect(await callRpc(bus, deviceLicenses, device)).toEqual([]);
  await expect(callRpc(bus, reportLicense, { ...device, id: 'other', state: 'inuse' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  await expect(
    callRpc(bus, reportLicense, { tenantId: 'tenantB', deviceId: device.deviceId, id, state: 'inuse' }),
  ).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

it('refuses what is no license, another tenant and too many', async () => {
  const path = await inventory.newDevice();
  for (const [body, fields] of [
    [{}, ['data', 'signature']],
    [{ data: {}, signature: 'x' }, ['data']],
    [{ data: 'x', signature: '\0' }, ['signature']],
    [{ data: 'x'.repeat(16_385), signature: 'x' }, ['data']],
  ] as const)
    expect(refusal(await api.post(`${path}/licenses`, body))).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR', fields]);
  const created = (await api.post<LicenseView>(`${path}/licenses`, LICENSE)).body;
  const other = inventory.client('tenantB');
  for (const answer of [
    await other.get(`${path}/licenses`),
    await other.post(`${path}/licenses`, LICENSE),
    await other.put(`${path}/licenses/${created.id}`, LICENSE),
    await other.delete(`${path}/licenses/${created.id}`),
  ])
    expect(refusal(answer)).toEqual([404, 'DM_DEVICE_NOT_FOUND']);
  for (const id of ['nobody', '%00', 'x'.repeat(300)])
    expect(refusal(await api.put(`${path}/licenses/${id}`, LICENSE))).toEqual([404, 'NOT_FOUND']);
  const more = await Promise.all(Array.from({ length: 55 }, () => api.post(`${path}/licenses`, LICENSE)));
  expect(more.filter(({ status }) => status === 201)).toHaveLength(49);
  expect(await list(path)).toHaveLength(50);
});
