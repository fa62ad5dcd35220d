import type { Audit } from '@orrery/core/audit';
import type { AfterCommit } from '@orrery/core/bus';
import type { DataMessage, MessageHeader } from '@orrery/core/messages';
import type { EntityManager } from 'typeorm';
import { isText } from '../text.js';

/** A longer state grows no further. */
const MAX_STATE_BYTES = 1_048_576;
const LONGEST_MESSAGE = 4096;

type Values = Record<string, unknown>;

/** Telemetry of one device in a batch. */
interface Told {
  tenantId: string;
  deviceId: string;
  /** In their order. */
  messages: Array<{ replaces: boolean; body: string }>;
}

interface Row {
  tenant_id: string;
  device_id: string;
  telemetries: string | null;
}

/** The current state of devices that send telemetry: what each name was last said to be. */
export class TelemetryStates {
  private readonly byDevice = new Map<string, Told>();

  /** Notes a message that is telemetry; its header says so. */
  message({ tenantId, deviceId, state }: MessageHeader, body: string): void {
    if (state === undefined || deviceId === undefined) return;
    const key = `${tenantId}\n${deviceId}`;
    let told = this.byDevice.get(key);
    if (!told) this.byDevice.set(key, (told = { tenantId, deviceId, messages: [] }));
    const replaces = state === 'replaced';
    // What came before it has no effect any more.
    if (replaces) told.messages = [];
    told.messages.push({ replaces, body });
  }

  /** Writes all states in two statements. To be called before rows of these devices are locked. */
  async write(manager: EntityManager, audit: Audit): Promise<AfterCommit | undefined> {
    if (this.byDevice.size === 0) return undefined;
    const told = [...this.byDevice.values()];
    // Devices that are unknown, or deleted meanwhile, have no row; the lock lets none go before the state is written.
    const rows = (await manager.query(
      `SELECT d.tenant_id, d.id AS device_id,
         (SELECT t.telemetries FROM device_telemetry t WHERE t.tenant_id = d.tenant_id AND t.device_id = d.id) AS telemetries
       FROM unnest($1::text[], $2::text[]) AS k (tenant_id, id)
       JOIN devices d ON d.tenant_id = k.tenant_id AND d.id = k.id
       ORDER BY d.tenant_id, d.id FOR KEY SHARE OF d`,
      [told.map(({ tenantId }) => tenantId), told.map(({ deviceId }) => deviceId)],
    )) as Row[];
    const states = rows.map((row) => ({
      ...row,
      ...merge(row.telemetries, this.byDevice.get(`${row.tenant_id}\n${row.device_id}`)!),
    }));
    await manager.query(
      `INSERT INTO device_telemetry (tenant_id, device_id, telemetries, status, message, sent)
       SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
       ON CONFLICT (tenant_id, device_id) DO UPDATE SET telemetries = excluded.telemetries, status = excluded.status,
         message = excluded.message, sent = excluded.sent`,
      [
        states.map((state) => state.tenant_id),
        states.map((state) => state.device_id),
        states.map((state) => state.text),
        states.map((state) => state.status),
        states.map((state) => state.message),
        states.map((state) => state.sent),
      ],
    );
    const full = states.filter((state) => state.full);
    return full.length === 0 ? undefined : () => full.forEach((state) => tell(audit, state.tenant_id, state.device_id));
  }
}

interface State {
  /** JSON of the telemetry values. */
  text: string;
  status: string;
  message: string | null;
  /** ISO 8601. */
  sent: string;
  /** Something was left out, because the state would have become too long. */
  full: boolean;
}

function merge(known: string | null, { messages }: Told): State {
  const parsed = messages.map(({ body }) => {
    const { value = {}, timestamp } = JSON.parse(body) as DataMessage;
    const { status, message, ...telemetries } = value;
    return { status, message, telemetries, timestamp };
  });
  const before = known === null || messages[0]!.replaces ? '{}' : known;
  let values = JSON.parse(before) as Values;
  let text = JSON.stringify(parsed.reduce((all, { telemetries }) => ({ ...all, ...telemetries }), values));
  const full = Buffer.byteLength(text) > MAX_STATE_BYTES;
  if (full) {
    // Message by message: those that fit are taken.
    text = before;
    for (const { telemetries } of parsed) {
      const next = { ...values, ...telemetries };
      const nextText = JSON.stringify(next);
      if (Buffer.byteLength(nextText) <= MAX_STATE_BYTES) [values, text] = [next, nextText];
    }
  }
  const { status, message, timestamp } = parsed.at(-1)!;
  return {
    text,
    status: String(status),
    message: isText(message, 0, LONGEST_MESSAGE) ? message : null,
    sent: timestamp,
    full,
  };
}

const tell = (audit: Audit, tenantId: string, deviceId: string): void =>
  audit.write({
    tenantId,
    level: 'error',
    category: 'device_management',
    subcategory: 'telemetry',
    type: 'telemetry_state_full',
    description: `The current state of ${deviceId} has ${MAX_STATE_BYTES} bytes at most: telemetry values were left out of it. A message with override true begins it anew`,
    source: { deviceId },
  });
