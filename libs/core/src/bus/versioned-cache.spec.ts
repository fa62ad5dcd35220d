import { eventually } from '../testing/index.js';
import { VersionedCache } from './index.js';

describe('VersionedCache', () => {
  it('keeps nothing that was loaded before an invalidation, however many come while it loads', async () => {
    let current = 'v0';
    const answers: Array<() => void> = [];
    const cache = new VersionedCache(
      () =>
        new Promise<string>((resolve) => {
          const read = current;
          answers.push(() => resolve(read));
        }),
      10,
    );
    const answer = async (): Promise<void> => {
      await eventually(() => answers.length > 0);
      answers.shift()!();
      await new Promise(setImmediate);
    };
    const first = cache.get('k');
    current = 'v1';
    cache.invalidate('k');
    const second = cache.get('k');
    await answer();
    current = 'v2';
    cache.invalidate('k');
    await answer();
    await answer();
    expect(await Promise.all([first, second])).toEqual(['v2', 'v2']);
    expect(cache.peek('k')).toBe('v2');
  });
});
