import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../config/index.js';
import { Secrets } from './secrets.js';

const owner = { tenantId: 'tenantA', purpose: 'interface:lora' };
const folders: string[] = [];

async function folder(): Promise<{ ORRERY_DATA_DIR: string }> {
  const made = await mkdtemp(join(tmpdir(), 'orrery-secrets-'));
  folders.push(made);
  return { ORRERY_DATA_DIR: join(made, 'data') };
}
afterAll(() => Promise.all(folders.map((each) => rm(each, { recursive: true, force: true }))));

describe('secrets', () => {
  it('are read again by whoever has the same key, and never look alike', async () => {
    const config = await folder();
    const secrets = new Secrets(config);
    for (const text of ['11223344556677889988776655443322', '', 'mot de passe é\u{1f511}', 'x'.repeat(100_000)]) {
      const sealed = secrets.seal(owner, text);
      expect(text === '' || !sealed.includes(text)).toBe(true);
      expect(secrets.seal(owner, text)).not.toBe(sealed);
      expect(new Secrets(config).open(owner, sealed)).toBe(text);
    }
  });

  it('cannot be opened for another tenant or purpose, nor when they were changed', async () => {
    const secrets = new Secrets(await folder());
    const sealed = secrets.seal(owner, 'secret');
    expect(() => secrets.open({ ...owner, tenantId: 'tenantB' }, sealed)).toThrow();
    expect(() => secrets.open({ ...owner, purpose: 'interface:lwm2m' }, sealed)).toThrow();
    const parts = sealed.split('.');
    for (const i of [2, 3, 4]) {
      const flipped = parts.map((part, at) =>
        at === i ? `${part.startsWith('A') ? 'B' : 'A'}${part.slice(1)}` : part,
      );
      expect(() => secrets.open(owner, flipped.join('.'))).toThrow();
    }
    // A tag that is cut short would be easier to guess.
    expect(() => secrets.open(owner, parts.with(3, parts[3]!.slice(0, 8)).join('.'))).toThrow();
    expect(() => secrets.open(owner, 'secret')).toThrow('no sealed secret');
  });

  it('say when the key is another one', async () => {
    const sealed = new Secrets(await folder()).seal(owner, 'secret');
    const other = new Secrets({ ...(await folder()), ORRERY_SECRET_KEY: Buffer.alloc(32, 7).toString('base64') });
    expect(() => other.open(owner, sealed)).toThrow(
      /sealed with the key [0-9a-f]{8}, and ORRERY_SECRET_KEY is the key/,
    );
  });
});

describe('the key', () => {
  it('is made at the first start, for its owner alone, and kept', async () => {
    const config = await folder();
    const sealed = new Secrets(config).seal(owner, 'x');
    expect(new Secrets(config).open(owner, sealed)).toBe('x');
    const file = join(config.ORRERY_DATA_DIR, 'secret.key');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(Buffer.from(await readFile(file, 'utf8'), 'base64')).toHaveLength(32);
    expect(await readdir(config.ORRERY_DATA_DIR)).toEqual(['secret.key']);
  });

  it('is refused when it is none, wherever it comes from', async () => {
    const config = await folder();
    void new Secrets(config);
    await writeFile(join(config.ORRERY_DATA_DIR, 'secret.key'), 'short');
    expect(() => new Secrets(config)).toThrow('secret.key holds no key');
    const env = { DATABASE_URL: 'postgres://x', NATS_URL: 'nats://x', REDIS_URL: 'redis://x' };
    for (const ORRERY_SECRET_KEY of [
      '',
      'short',
      Buffer.alloc(31).toString('base64'),
      Buffer.alloc(33).toString('base64'),
    ])
      expect(() => loadConfig({ ...env, ORRERY_SECRET_KEY })).toThrow('ORRERY_SECRET_KEY');
    const key = Buffer.alloc(32, 1).toString('base64');
    expect(loadConfig({ ...env, ORRERY_SECRET_KEY: key }).ORRERY_SECRET_KEY).toBe(key);
  });
});
