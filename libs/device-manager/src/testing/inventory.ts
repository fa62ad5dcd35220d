import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { type ApiClient, apiClient, type Backend, keyRing, type KeyRing, startBackend } from '@orrery/core/testing';
import { deviceManager } from '../index.js';

export const DEVICES = '/api/v1/deviceMgt/devices';

/** Refusal of an interface that exists. */
export const DUPLICATE = [409, 'DM_INTERFACE_DUPLICATE'];

/** The inventory alone, with keys for any tenant. */
export interface Inventory {
  backend: Backend;
  /** A client of this tenant, with all roles, an offer without limits and one SMS number unless told otherwise. */
  client(tenantId: string, options?: Parameters<KeyRing['grant']>[1]): ApiClient;
  /** Path of a new device of tenantA with these interfaces. */
  newDevice(...interfaces: unknown[]): Promise<string>;
}

export async function startInventory(): Promise<Inventory> {
  const backend = await startBackend([deviceManager]);
  const keys = keyRing(await backend.bus());
  const { url } = await backend.boot([deviceManager]);
  const client: Inventory['client'] = (tenantId, options = {}) =>
    apiClient(url, keys.grant(tenantId, { limits: UNLIMITED_OFFER, smsNumbers: ['20259'], ...options }).value);
  const api = client('tenantA');
  let count = 0;
  return {
    backend,
    client,
    async newDevice(...interfaces) {
      const id = `urn:lo:nsid:new:${++count}`;
      const { status, body } = await api.post(DEVICES, { id, interfaces });
      expect([status, body]).toEqual([200, expect.anything()]);
      return `${DEVICES}/${id}`;
    },
  };
}

/** Status and code of a refusal, and the fields that it names, sorted. */
export function refusal({ status, body }: { status: number; body: unknown }): [number, string, string[]?] {
  const { code, details } = body as { code: string; details?: Array<{ field: string }> };
  return Array.isArray(details) ? [status, code, details.map(({ field }) => field).sort()] : [status, code];
}

/** Refusal of a definition with these fields wrong. */
export const badDefinition = (...fields: string[]): [number, string, string[]] => [
  400,
  'GENERIC_INVALID_PARAMETER_ERROR',
  fields.map((field) => `definition.${field}`).sort(),
];
