import { mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { aptSources, machineRelease } from './apt-sources.mjs';
import { cacheFolder } from './cache.mjs';
import { isAtLeast, messageOf, run, tail, versionIn } from './commands.mjs';

// Raise when the layout of a cached package changes: older caches are then ignored.
const LAYOUT = 'debian-1';

/**
 * @typedef {object} Wanted
 * @property {string} name the package
 * @property {string} command path of the program inside the package, for instance `usr/bin/redis-server`
 * @property {readonly string[]} check arguments that make the program print its version and end
 * @property {readonly string[]} [newerSuites] Debian releases to try before the machine's own
 * @property {string} [minimum] version
 */

/**
 * @typedef {{ command: string, version: string, suite: string, env: NodeJS.ProcessEnv }} Fetched
 * `env` has the library path that the program needs.
 */

/**
 * A program from a Debian or Ubuntu package, unpacked with the libraries this machine lacks into the user's cache. Uses
 * the machine's own mirror and keys with a private apt state: needs no root, installs nothing, and may run concurrently.
 *
 * @param {Wanted} wanted
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<Fetched>}
 */
export async function fetchPackage(wanted, env) {
  const release = await machineRelease();
  const folder = join(await cacheFolder(env), LAYOUT, `${release.codename}-${process.arch}`);
  const target = join(folder, wanted.name);
  const cached = await openCached(target, wanted, env);
  if (cached) return cached;

  await mkdir(folder, { recursive: true });
  const reasons = [];
  const newer = release.id === 'debian' ? (wanted.newerSuites ?? []) : [];
  for (const suite of new Set([...newer, release.codename])) {
    const scratch = await mkdtemp(join(folder, '.fetching-'));
    try {
      await fetchInto(scratch, wanted, suite, env);
      const fetched = await openCached(join(scratch, 'package'), wanted, env);
      if (!fetched) throw new Error(`${wanted.command} was fetched but does not run on this machine`);
      await publish(join(scratch, 'package'), target, wanted, env);
    } catch (error) {
      reasons.push(`${suite}: ${messageOf(error)}`);
      continue;
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
    const published = await openCached(target, wanted, env);
    if (published) return published;
  }
  throw new Error(`package ${wanted.name} could not be fetched (${reasons.join('; ')})`);
}

/**
 * @param {string} folder
 * @param {Wanted} wanted
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<Fetched | undefined>} undefined when it is not there or does not run
 */
async function openCached(folder, wanted, env) {
  /** @type {string} */
  let suite;
  try {
    suite = JSON.parse(await readFile(join(folder, 'fetched.json'), 'utf8')).suite;
  } catch {
    return undefined;
  }
  const libraries = await libraryFolders(join(folder, 'root'));
  const path = [...libraries, ...(env.LD_LIBRARY_PATH ? [env.LD_LIBRARY_PATH] : [])].join(':');
  const own = { ...env, ...(path === '' ? {} : { LD_LIBRARY_PATH: path }) };
  const command = join(folder, 'root', wanted.command);
  const tried = await run(command, wanted.check, { env: own, timeout: 10_000 });
  const version = versionIn(tried.stdout + tried.stderr);
  // 126 and 127: a library is missing. Other codes are fine: Mosquitto's programs do not end with 0 after their version.
  const runs = tried.code !== null && tried.code < 126;
  return runs && version ? { command, version, suite, env: own } : undefined;
}

/**
 * @param {string} root
 * @returns {Promise<string[]>}
 */
async function libraryFolders(root) {
  const found = [];
  for (const parent of ['usr/lib', 'lib']) {
    const names = await readdir(join(root, parent)).catch(() => []);
    for (const name of names) if (/-linux-gnu/.test(name)) found.push(join(root, parent, name));
  }
  return found;
}

/**
 * Renaming is atomic: of several processes that fetched the same package one wins, and the others take what it put there.
 *
 * @param {string} made
 * @param {string} target
 * @param {Wanted} wanted
 * @param {NodeJS.ProcessEnv} env
 */
async function publish(made, target, wanted, env) {
  for (;;) {
    try {
      return await rename(made, target);
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST'].includes(/** @type {NodeJS.ErrnoException} */ (error).code ?? '')) throw error;
    }
    if (await openCached(target, wanted, env)) return;
    // What is there no longer runs, for instance because a library has been removed from the machine since.
    const old = join(dirname(made), 'old');
    await rename(target, old).catch(() => undefined);
    await rm(old, { recursive: true, force: true });
  }
}

/**
 * @param {string} scratch
 * @param {Wanted} wanted
 * @param {string} suite
 * @param {NodeJS.ProcessEnv} env
 */
async function fetchInto(scratch, wanted, suite, env) {
  const apt = await privateApt(scratch, suite, env);
  const updated = await apt('apt-get', ['-q', 'update']);
  if (updated.code !== 0) throw new Error(`apt-get update failed: ${tail(updated.stderr, 3)}`);

  const install = ['-qq', '-y', '--no-install-recommends', 'install', wanted.name];
  const planned = await apt('apt-get', ['--print-uris', ...install]);
  if (planned.code !== 0) throw new Error(tail(planned.stderr, 3));
  const archives = [...planned.stdout.matchAll(/^'[^']*' (\S+)_([^_\s]+)_[^_\s]+\.deb /gm)];
  const main = archives.find(([, name]) => name === wanted.name);
  if (!main?.[2]) throw new Error(`${wanted.name} is installed already, but does not run`);
  const version = decodeURIComponent(main[2]).replace(/^\d+:/, '');
  if (wanted.minimum && !isAtLeast(versionIn(version) ?? '0', wanted.minimum))
    throw new Error(`has ${version}, which is too old`);
  if (archives.some(([, name]) => name === 'libc6')) throw new Error(`${version} needs a newer C library`);

  const downloaded = await apt('apt-get', ['--download-only', ...install]);
  if (downloaded.code !== 0) throw new Error(`download failed: ${tail(downloaded.stderr, 3)}`);
  const folder = join(scratch, 'cache/archives');
  const root = join(scratch, 'package/root');
  await mkdir(root, { recursive: true });
  for (const file of await readdir(folder)) {
    if (!file.endsWith('.deb')) continue;
    const unpacked = await run('dpkg-deb', ['-x', join(folder, file), root], { env });
    if (unpacked.code !== 0) throw new Error(`${file}: ${tail(unpacked.stderr, 3)}`);
  }
  await writeFile(join(scratch, 'package/fetched.json'), JSON.stringify({ package: wanted.name, version, suite }));
}

/**
 * apt with its own sources and state, so that no root is needed and the machine's is left alone. It keeps the machine's
 * `Acquire` settings (proxies, certificates) and its list of installed packages, from which apt knows what is missing.
 *
 * @param {string} scratch
 * @param {string} suite
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<(command: string, args: readonly string[]) => Promise<import('./commands.mjs').Outcome>>}
 */
async function privateApt(scratch, suite, env) {
  for (const folder of ['etc/apt.conf.d', 'etc/preferences.d', 'etc/sources.list.d', 'state/lists/partial']) {
    await mkdir(join(scratch, folder), { recursive: true });
  }
  await mkdir(join(scratch, 'cache/archives/partial'), { recursive: true });
  await writeFile(join(scratch, 'etc/sources.list.d/orrery.sources'), await aptSources(suite));

  const machine = await run('apt-config', ['dump'], { env });
  if (machine.code !== 0) throw new Error('this machine has no apt');
  const kept = machine.stdout
    .split('\n')
    .filter(
      (line) => line.startsWith('Acquire::') && !/^Acquire::(IndexTargets|Languages|Changelogs|cdrom)/.test(line),
    );
  const settings = {
    'Dir::Etc': join(scratch, 'etc'),
    'Dir::Etc::netrc': '/etc/apt/auth.conf',
    'Dir::Etc::netrcparts': '/etc/apt/auth.conf.d',
    'Dir::Etc::trusted': '/etc/apt/trusted.gpg',
    'Dir::Etc::trustedparts': '/etc/apt/trusted.gpg.d',
    'Dir::State': join(scratch, 'state'),
    'Dir::State::status': '/var/lib/dpkg/status',
    'Dir::Cache': join(scratch, 'cache'),
    'Debug::NoLocking': 'true',
    'APT::Sandbox::User': 'root',
    'APT::Update::Error-Mode': 'any',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
    'Acquire::http::Timeout': '20',
    'Acquire::https::Timeout': '20',
  };
  const own = Object.entries(settings).map(([name, value]) => `${name} "${value}";`);
  const file = join(scratch, 'apt.conf');
  await writeFile(file, [...kept, ...own, ''].join('\n'), { mode: 0o600 });
  return (command, args) =>
    run(command, args, { env: { ...env, APT_CONFIG: file, LC_ALL: 'C' }, cwd: scratch, timeout: 180_000 });
}
