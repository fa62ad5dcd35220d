import { type Backend, eventually, startBackend } from '../testing/index.js';
import { PackingPublisher } from './index.js';

let backend: Backend;
beforeAll(async () => {
  backend = await startBackend([]);
});
afterAll(() => backend.stop());

describe('PackingPublisher', () => {
  it('keeps the order of a partition and packs what waits', async () => {
    const bus = await backend.bus();
    const publisher = new PackingPublisher(bus, 'READY');
    const receipts = await Promise.all(
      Array.from({ length: 1000 }, (_, i) => publisher.publish(3, `{"n":${i}}`, '{}')),
    );
    expect(receipts.every((receipt, i) => i === 0 || receipt.order > receipts[i - 1]!.order)).toBe(true);
    const { state } = await eventually(() => bus.jsm.streams.info('READY_3'));
    expect(state.messages).toBeGreaterThan(0);
    expect(state.messages).toBeLessThan(100);
    await publisher.close();
  });
});
