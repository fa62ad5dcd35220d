import { Audit, type AuditEntry, type StoredAuditEntry } from '@orrery/core/audit';
import { AUDIT_SUBJECT, type Bus } from '@orrery/core/bus';
import { newMessageId } from '@orrery/core/messages';
import {
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
  withinWindow,
} from '@orrery/core/testing';
import { auditLog } from '../index.js';
import type { AuditMessage } from './message.dto.js';

const MINUTE = 60_000;

let backend: Backend;
let bus: Bus;
let keys: KeyRing;
beforeAll(async () => {
  backend = await startBackend([auditLog]);
  bus = await backend.bus();
  keys = keyRing(bus);
});
afterAll(() => backend.stop());

const bad = (tenantId: string, nodeId: string, more: Partial<AuditEntry> = {}): AuditEntry => ({
  tenantId,
  level: 'error',
  category: 'connectivity',
  subcategory: 'mqtt',
  type: 'bad_topic',
  description: `a bad publication of ${nodeId}`,
  source: { nodeId, connector: 'mqtt' },
  ...more,
});
const search = async (url: string, tenantId: string, query = ''): Promise<AuditMessage[]> => {
  const api = apiClient(url, keys.grant(tenantId).value);
  return (await api.get<AuditMessage[]>(`/api/v0/auditlog/messages?limit=1000${query}`)).body;
};
/** What is kept when all that has been sent has been read: entries are read in their order. */
async function kept(url: string, tenantId: string, query = ''): Promise<AuditMessage[]> {
  const type = `seen-${newMessageId()}`;
  report(tenantId, { category: 'data', subcategory: 'storage', type });
  await eventually(async () => (await search(url, tenantId, `&type=${type}`)).length === 1);
  return (await search(url, tenantId, query)).filter((message) => !message.type.startsWith('seen-'));
}
/** Puts an entry on the bus, as one of many processes does. */
const report = (tenantId: string, more: Partial<StoredAuditEntry>): void =>
  bus.connection.publish(
    AUDIT_SUBJECT,
    JSON.stringify({
      ...bad(tenantId, 'n'),
      id: newMessageId(),
      timestamp: new Date().toISOString(),
      ...more,
    }),
  );
let tenants = 0;
/** A tenant that nothing has been counted of. */
const newTenant = (): string => `tenant-${++tenants}`;
const types = (messages: AuditMessage[]): string[] => messages.map(({ type }) => type);
const NOTICE = { level: 'error', category: 'connectivity', subcategory: 'mqtt', type: 'limit_reached' };

describe('the cap of the audit log', () => {
  it('AUD-015 keeps 100 of 300 bad publications of a minute, from several processes, and one that says so', async () => {
    const { url } = await backend.boot([auditLog]);
    const buses = await Promise.all([backend.bus(), backend.bus(), backend.bus()]);
    const producers = buses.map((own) => new Audit(own));
    const scenario = async (): Promise<void> => {
      const flooded = newTenant();
      for (let i = 0; i < 100; i++)
        for (const [n, audit] of producers.entries()) audit.write(bad(flooded, `device-${n}`));
      for (const own of buses) await own.connection.flush();
      const messages = await kept(url, flooded);
      expect(messages).toHaveLength(101);
      const [last, ...others] = messages;
      expect(last).toMatchObject(NOTICE);
      expect(last!.description).toContain('100');
      expect(last!.timestamp > others[0]!.timestamp).toBe(true);
      expect(last!.timestamp.slice(0, 16)).toBe(others[0]!.timestamp.slice(0, 16));
      expect(new Set(types(others))).toEqual(new Set(['bad_topic']));
      for (const audit of producers) audit.write(bad(flooded, 'late'));
      for (const own of buses) await own.connection.flush();
      expect(await kept(url, flooded)).toEqual(messages);
    };
    await withinWindow(MINUTE, scenario, 10_000);
  });

  it('caps each tenant, category, subcategory and minute for itself, whatever the order', async () => {
    const { url } = await backend.boot([auditLog]);
    const now = Math.floor(Date.now() / MINUTE) * MINUTE;
    const at = (minutes: number, i: number): string => new Date(now - minutes * MINUTE + i * 100).toISOString();
    for (let i = 0; i < 110; i++) {
      report('many', { timestamp: at(2, i) });
      report('many', { timestamp: at(2, 110 - i), subcategory: 'lora' });
      report('many', { timestamp: at(1, i), category: 'notification', subcategory: 'mqtt' });
      if (i < 100) report('many', { timestamp: at(1, i) });
      if (i < 50) report('others', { timestamp: at(2, i) });
    }
    const messages = await kept(url, 'many');
    const count = (from: number, category: string, subcategory: string): [number, number] => {
      const found = messages.filter(
        (message) =>
          message.timestamp.slice(0, 16) === at(from, 0).slice(0, 16) &&
          message.category === category &&
          message.subcategory === subcategory,
      );
      return [found.length, types(found).indexOf('limit_reached')];
    };
    // The notice is the newest of its minute.
    expect(count(2, 'connectivity', 'mqtt')).toEqual([101, 0]);
    expect(count(2, 'connectivity', 'lora')).toEqual([101, 0]);
    expect(count(1, 'notification', 'mqtt')).toEqual([101, 0]);
    expect(count(1, 'connectivity', 'mqtt')).toEqual([100, -1]);
    expect(types(await kept(url, 'others'))).toEqual(Array.from({ length: 50 }, () => 'bad_topic'));
  });

  it('goes on counting where the instance stopped that kept entries before', async () => {
    const [first, second] = [await backend.boot([auditLog]), await backend.boot([auditLog])];
    const timestamp = new Date(Date.now() - MINUTE).toISOString();
    for (let i = 0; i < 60; i++) report('moved', { timestamp });
    expect(await kept(first.url, 'moved')).toHaveLength(60);
    // Whoever of all instances reads: it ends.
    await first.close();
    for (let i = 0; i < 60; i++) report('moved', { timestamp });
    const messages = await kept(second.url, 'moved');
    expect(messages).toHaveLength(101);
    expect(types(messages).filter((type) => type === 'limit_reached')).toHaveLength(1);
    for (let i = 0; i < 60; i++) report('moved', { timestamp });
    expect(await kept(second.url, 'moved')).toEqual(messages);
  });

  it('keeps apart what has no category, or one that PostgreSQL does not take', async () => {
    const { url } = await backend.boot([auditLog]);
    const timestamp = new Date(Date.now() - MINUTE).toISOString();
    const odd = { timestamp, category: 'a\0b' as AuditEntry['category'], subcategory: '\ud800' };
    for (let i = 0; i < 103; i++) {
      report('odd', odd);
      bus.connection.publish(
        AUDIT_SUBJECT,
        JSON.stringify({ tenantId: 'odd', id: newMessageId(), timestamp, type: 'x' }),
      );
    }
    const messages = await kept(url, 'odd');
    expect(messages).toHaveLength(202);
    expect(types(messages).filter((type) => type === 'limit_reached')).toHaveLength(2);
  });

  it('spares the bus what one process writes beyond', async () => {
    const own = await backend.bus();
    const scenario = async (): Promise<void> => {
      const chatty = newTenant();
      let seen = 0;
      own.connection.subscribe(AUDIT_SUBJECT, {
        callback: (_error, message) => {
          if (message.json<StoredAuditEntry>().tenantId === chatty) seen++;
        },
      });
      await own.connection.flush();
      const audit = new Audit(bus, 20);
      for (let i = 0; i < 5000; i++) audit.write(bad(chatty, 'n'));
      audit.write(bad(chatty, 'n', { subcategory: 'lora' }));
      await bus.connection.flush();
      await own.connection.flush();
      await eventually(() => seen >= 22);
      expect(seen).toBe(22);
    };
    await withinWindow(MINUTE, scenario, 5000);
  });
});

describe('the categories of the audit log', () => {
  it('AUD-008 finds what was written by category and subcategory', async () => {
    const { url } = await backend.boot([auditLog]);
    const audit = new Audit(bus);
    const written: Record<AuditEntry['category'], string[]> = {
      connectivity: ['mqtt', 'lora', 'lwm2m', 'sigfox', 'sensoro'],
      notification: ['http', 'azure'],
      data: ['storage', 'pipeline'],
      device_management: ['twin'],
    };
    const all = Object.entries(written) as Array<[AuditEntry['category'], string[]]>;
    for (const [category, subcategories] of all)
      for (const subcategory of subcategories)
        audit.write(bad('categories', 'n', { category, subcategory, type: `${category}.${subcategory}` }));
    const found = async (query: string): Promise<string[]> => types(await kept(url, 'categories', query)).sort();
    for (const [category, subcategories] of all) {
      const names = subcategories.map((subcategory) => `${category}.${subcategory}`);
      expect(await found(`&category=${category}`)).toEqual(names.toSorted());
      for (const subcategory of subcategories)
        expect(await found(`&category=${category}&subcategory=${subcategory}`)).toEqual([`${category}.${subcategory}`]);
    }
    expect(await found('')).toHaveLength(10);
    expect(await found('&category=data&subcategory=twin')).toEqual([]);
  });
});

describe('a configured cap', () => {
  it('keeps as many as ORRERY_AUDIT_PER_MINUTE says', async () => {
    const few = await startBackend([auditLog], { ORRERY_AUDIT_PER_MINUTE: '5' });
    try {
      [bus, keys] = [await few.bus(), keyRing(await few.bus())];
      const { url } = await few.boot([auditLog]);
      const timestamp = new Date(Date.now() - MINUTE).toISOString();
      for (let i = 0; i < 20; i++) report('few', { timestamp });
      const messages = await kept(url, 'few');
      expect(types(messages)).toEqual(['limit_reached', ...Array.from({ length: 5 }, () => 'bad_topic')]);
      expect(messages[0]!.description).toContain('More than 5 ');
    } finally {
      await few.stop();
    }
  });
});
