import { LIMITS, limitsOf, newSettings } from '@orrery/core/limits';
import {
  type ApiAnswer,
  type ApiClient,
  apiClient,
  type Backend,
  type KeyRing,
  keyRing,
  startBackend,
} from '@orrery/core/testing';
import { deviceManager } from '../index.js';

const DEVICES = '/api/v1/deviceMgt/devices';

let backend: Backend;
let keys: KeyRing;
let url: string;
beforeAll(async () => {
  backend = await startBackend([deviceManager]);
  keys = keyRing(await backend.bus());
  ({ url } = await backend.boot([deviceManager]));
});
afterAll(() => backend.stop());

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `n${i}`);
const interfaces = (count: number): unknown[] =>
  names(count).map((clientId) => ({ connector: 'mqtt', definition: { clientId } }));
const said = ({ status, body }: ApiAnswer<unknown>): unknown[] => [
  status,
  (body as { code?: string } | undefined)?.code,
];
const add = async (api: ApiClient, id: number, more: object = {}): Promise<unknown[]> =>
  said(await api.post(DEVICES, { id: `urn:lo:nsid:refusals:${id}`, ...more }));

describe('what a request is refused for', () => {
  it('API-014 is its key, then its rate, its role, its parameters, what does not exist, and conflicts', async () => {
    const grant = (more: object = {}): ApiClient => apiClient(url, keys.grant('order', more).value);
    const one = { id: 'urn:lo:nsid:order:1' };
    const all = grant();
    expect((await all.post(DEVICES, one)).status).toBe(200);

    const rated = { limits: { httpPerKeyMinute: 0 } };
    const expired = await grant({ ...rated, roles: [], to: 1 }).post(DEVICES, '{');
    expect(said(expired)).toEqual([401, 'UNAUTHORIZED']);
    for (const answer of [
      await grant({ ...rated, roles: [] }).post(DEVICES, '{'),
      await grant(rated).get(`${DEVICES}/foo`),
      await grant(rated).post(DEVICES, one),
    ])
      expect([answer.status, answer.body]).toEqual([429, undefined]);

    const roleless = grant({ roles: [] });
    for (const body of ['{', { id: 'foo' }, one])
      expect(said(await roleless.post(DEVICES, body))).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);
    expect(said(await roleless.get(`${DEVICES}/foo`))).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);

    expect(said(await all.get(`${DEVICES}/foo`))).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    const unknown = `${DEVICES}/urn:lo:nsid:order:none`;
    expect(said(await all.patch(unknown, { tags: 'no list' }))).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    expect(said(await all.post(DEVICES, { ...one, tags: 'no list' }))).toEqual([
      400,
      'GENERIC_INVALID_PARAMETER_ERROR',
    ]);
    expect(said(await all.patch(unknown, { tags: [] }))).toEqual([404, 'DM_DEVICE_NOT_FOUND']);
    expect(said(await all.post(DEVICES, one))).toEqual([409, 'DM_DEVICE_DUPLICATE']);
  });

  it('LIM-015 is what the offer of its account allows, and what none can change', async () => {
    const raised = limitsOf(
      newSettings({
        deviceManagement: {
          maximumAssetsNumber: 12,
          maximumInterfacesNumber: 50,
          deviceInterfaces: 50,
          maximumDeviceInterfacesNumber: 50,
        },
      }),
    );
    const [more, standard] = [{ ...raised, deviceInterfaces: 50 }, {}].map((limits, i) =>
      apiClient(url, keys.grant(`offer-${i}`, { limits }).value),
    ) as [ApiClient, ApiClient];
    const first = async (api: ApiClient, count: number): Promise<unknown[]> => {
      const statuses = [];
      for (let i = 1; i <= count; i++) statuses.push((await add(api, i))[0]);
      return [new Set(statuses), (await add(api, count + 1))[0]];
    };
    expect(LIMITS.devices.value).toBe(10);
    expect(await first(standard, 10)).toEqual([new Set([200]), 403]);
    for (const api of [standard, more])
      expect(await add(api, 0, { interfaces: interfaces(6) })).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    expect(await first(more, 12)).toEqual([new Set([200]), 403]);
  });

  it('LIM-016 is the quota for one device too many, and the parameter for too much in one', async () => {
    const api = apiClient(url, keys.grant('quota', { limits: { devices: 1 } }).value);
    expect(await add(api, 1, { tags: names(11) })).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    expect(await add(api, 1, { tags: names(10) })).toEqual([200, undefined]);
    expect(await add(api, 2)).toEqual([403, 'GENERIC_QUOTA_EXCEEDED_ERROR']);
  });
});
