import { decodeEntry } from '../messages/index.js';
import { scrape } from '../telemetry/index.js';
import { type Backend, eventually, startBackend } from '../testing/index.js';
import { type Bus, BusUnavailableError, PackingPublisher } from './index.js';

let backend: Backend;
let bus: Bus;
beforeAll(async () => {
  backend = await startBackend([], { ORRERY_PARTITIONS: '1', ORRERY_STREAM_MAX_BYTES: String(1 << 20) });
  bus = await backend.bus();
});
afterAll(() => backend.stop());

const BODY = JSON.stringify('x'.repeat(50_000));
const waiting = async (): Promise<number> =>
  Number(/^orrery_bus_pending_messages\{stream="EVENTS"\} (\d+)$/m.exec(await scrape())?.[1]);

describe('a publisher to a stream that is full', () => {
  it('refuses those who do not wait, loses nothing, and goes on in order when there is room', async () => {
    const publisher = new PackingPublisher(bus, 'EVENTS', { messages: 64, bytes: 64 << 20 });
    let acknowledged = 0;
    const results = Array.from({ length: 100 }, (_, i) =>
      publisher.publish(0, `{"n":${i}}`, BODY).then(() => acknowledged++),
    );
    await eventually(() => acknowledged > 0 && publisher.saturated);
    await expect(publisher.publish(0, '{"n":-1}', BODY, 300)).rejects.toThrow(BusUnavailableError);
    expect(acknowledged).toBeLessThan(100);
    // Someone reads: as soon as there is room, the waiting messages arrive in their order.
    const numbers: number[] = [];
    const consumer = await bus.js.consumers.get('EVENTS_0');
    const messages = await consumer.consume({
      callback: (message) => {
        for (const item of decodeEntry(message.data)) numbers.push((JSON.parse(item.header) as { n: number }).n);
        void bus.jsm.streams.purge('EVENTS_0', { seq: message.seq + 1 });
      },
    });
    await Promise.all(results);
    await eventually(() => numbers.length === 100);
    expect(numbers).toEqual(Array.from({ length: 100 }, (_, i) => i));
    await messages.close();
    await publisher.close();
  });

  it('tells how many messages wait, also those that came after the last one that was taken', async () => {
    const publisher = new PackingPublisher(bus, 'EVENTS');
    let acknowledged = 0;
    const publish = (count: number): Array<Promise<unknown>> =>
      Array.from({ length: count }, () => publisher.publish(0, '{}', BODY).then(() => acknowledged++));
    const all = publish(30);
    await eventually(async () => (await waiting()) === 30 - acknowledged && acknowledged > 10);
    all.push(...publish(20));
    await eventually(async () => (await waiting()) === 50 - acknowledged);
    expect(acknowledged).toBeLessThan(30);
    await bus.jsm.streams.purge('EVENTS_0');
    await eventually(async () => {
      await bus.jsm.streams.purge('EVENTS_0');
      return acknowledged === 50;
    });
    await Promise.all(all);
    await eventually(async () => (await waiting()) === 0);
    await publisher.close();
  });

  it('has room again when those who wait give up', async () => {
    const filler = new PackingPublisher(bus, 'EVENTS');
    const filling = Array.from({ length: 40 }, () => filler.publish(0, '{}', BODY, 2000).catch(() => 'full'));
    expect(await Promise.all(filling)).toContain('full');
    const publisher = new PackingPublisher(bus, 'EVENTS', { messages: 8, bytes: 64 << 20 });
    const refused = Array.from({ length: 10 }, () => publisher.publish(0, '{}', BODY, 300));
    expect(publisher.saturated).toBe(true);
    let drained = false;
    publisher.onDrain(() => (drained = true));
    for (const each of await Promise.allSettled(refused))
      expect((each as PromiseRejectedResult).reason).toBeInstanceOf(BusUnavailableError);
    await eventually(() => drained);
    expect(publisher.saturated).toBe(false);
    await bus.jsm.streams.purge('EVENTS_0');
    await filler.close();
    await publisher.close();
  });
});
