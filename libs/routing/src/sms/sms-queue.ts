import { randomUUID } from 'node:crypto';
import type { Bus } from '@orrery/core/bus';
import { type Database } from '@orrery/core/database';
import type { EntityManager } from 'typeorm';
import { SMS_TAKEN_MS, SMS_WAITING, type WaitingSms } from '../contract.js';

/** Most that are handed out at once. */
const MAX_TAKEN = 1000;
/** An alert that nobody could send for so long is of no use any more. */
const KEPT_DAYS = 7;

interface Row {
  id: string;
  tenant_id: string;
  policy_id: string;
  phone_number: string;
  text: string;
  created: Date;
}

/** SMS on their way to the connector that sends them (contract.ts). */
export class SmsQueue {
  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
  ) {}

  async add(
    manager: EntityManager,
    tenantId: string,
    policyId: string,
    phoneNumbers: readonly string[],
    text: string,
  ): Promise<void> {
    if (phoneNumbers.length === 0) return;
    await manager.query(
      `INSERT INTO waiting_sms (id, tenant_id, policy_id, phone_number, text)
       SELECT id, $1, $2, phone_number, $3 FROM unnest($4::uuid[], $5::text[]) AS v(id, phone_number)`,
      [tenantId, policyId, text.replaceAll('\0', ''), phoneNumbers.map(() => randomUUID()), phoneNumbers],
    );
  }

  wake(): void {
    if (!this.bus.connection.isClosed()) this.bus.connection.publish(SMS_WAITING, '{}');
  }

  /** The oldest that no connector has, for `SMS_TAKEN_MS`. */
  async take(limit: number): Promise<WaitingSms[]> {
    const [rows] = (await this.database.query(
      `UPDATE waiting_sms SET taken_until = now() + $2 * interval '1 millisecond' WHERE id IN (
         SELECT id FROM waiting_sms WHERE taken_until IS NULL OR taken_until < now()
         ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED)
       RETURNING id, tenant_id, phone_number, text, created, seq`,
      [Math.min(limit, MAX_TAKEN), SMS_TAKEN_MS],
    )) as unknown as [Array<Row & { seq: string }>, number];
    return rows
      .toSorted((a, b) => Number(a.seq) - Number(b.seq))
      .map((row) => ({
        id: row.id,
        tenantId: row.tenant_id,
        phoneNumber: row.phone_number,
        text: row.text,
        created: row.created.toISOString(),
      }));
  }

  async remove(ids: readonly string[]): Promise<void> {
    await this.database.query('DELETE FROM waiting_sms WHERE id = ANY($1::uuid[])', [ids]);
  }

  async list(
    tenantId: string,
    { limit, offset }: { limit: number; offset: number },
  ): Promise<{ sms: Row[]; total: number }> {
    const sms = await this.database.query<Row>(
      `SELECT id, tenant_id, policy_id, phone_number, text, created FROM waiting_sms WHERE tenant_id = $1
       ORDER BY seq LIMIT $2 OFFSET $3`,
      [tenantId, limit, offset],
    );
    const [count] = await this.database.query<{ count: string }>(
      'SELECT count(*) FROM waiting_sms WHERE tenant_id = $1',
      [tenantId],
    );
    return { sms, total: Number(count!.count) };
  }

  async removeOld(): Promise<void> {
    await this.database.query('DELETE FROM waiting_sms WHERE created < now() - make_interval(days => $1)', [KEPT_DAYS]);
  }
}
