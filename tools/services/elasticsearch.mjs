import { chown, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder } from './cache.mjs';
import { claim } from './claim.mjs';
import { findOnPath, isAtLeast, messageOf, run, tail, versionIn } from './commands.mjs';
import { containerName, dockerRun, pullImage, removeContainer } from './docker.mjs';
import { onPort, requireDocker } from './finding.mjs';
import { startServer } from './server.mjs';

const VERSION = '7.10.2';
/** That of docker-compose.yml and of the chart. */
const IMAGE = 'docker.elastic.co/elasticsearch/elasticsearch:8.19.2';
/** User of the image. It refuses to be root. */
const IMAGE_UID = 1000;
const SOURCES = join(import.meta.dirname, 'elasticsearch');
const MEMORY = '-Xmx512m';

/**
 * @typedef {object} Elasticsearch
 * @property {string} url
 * @property {string} detail
 * @property {number} [pid]
 * @property {() => Promise<void>} [freeze] it listens and answers nothing, until it is thawed; not of one that was given
 * @property {() => Promise<void>} [thaw]
 * @property {() => Promise<void>} stop
 *
 * @typedef {{ command: string, args: (port: number) => string[], detail: string, container?: string, uid?: number }} Launch
 * `uid` is whose the data folder must be
 */

/**
 * Elasticsearch for tests and benchmarks: ELASTICSEARCH_URL when it is given, else a container when a Docker engine
 * answers, else the server's libraries from Maven run by Java 11 or newer. It has no passwords and listens on 127.0.0.1.
 *
 * @param {{ dataDir: string, log: (line: string) => void, env?: NodeJS.ProcessEnv, port?: number }} options `log` gets one
 *   line: what was chosen, or why there is none. A free port unless one is given
 * @returns {Promise<Elasticsearch | undefined>} undefined when it can't be had here
 */
export async function startElasticsearch({ dataDir, log, env = process.env, port }) {
  const given = env['ELASTICSEARCH_URL'];
  if (given) {
    log('Elasticsearch: ELASTICSEARCH_URL from the environment');
    return { url: given, detail: 'ELASTICSEARCH_URL from the environment', stop: async () => undefined };
  }
  const reasons = [];
  for (const find of [inDocker, fromMaven]) {
    try {
      const started = await start(await find(dataDir, env), { dataDir, log, env, port });
      log(`Elasticsearch: ${started.detail}`);
      return started;
    } catch (error) {
      reasons.push(messageOf(error).replaceAll(/\s+/g, ' '));
    }
  }
  log(`Elasticsearch could not be started, what needs it is left out: no ELASTICSEARCH_URL; ${reasons.join('; ')}`);
  return undefined;
}

/**
 * @param {string} dataDir
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<Launch>}
 */
async function inDocker(dataDir, env) {
  await requireDocker(env);
  await pullImage(IMAGE, env);
  const name = containerName('elasticsearch', dataDir);
  const settings = [
    'discovery.type=single-node',
    // Neither passwords nor TLS, which version 8 sets up by itself otherwise.
    'xpack.security.enabled=false',
    'path.data=/data',
    // The host's vm.max_map_count may be too small for it.
    'node.store.allow_mmap=false',
    'cluster.routing.allocation.disk.threshold_enabled=false',
    'xpack.ml.enabled=false',
    // It asks an address on the Internet.
    'ingest.geoip.downloader.enabled=false',
    // Both, or the heap begins with a size of its own.
    `ES_JAVA_OPTS=-Xms512m ${MEMORY}`,
  ];
  const uid = process.getuid?.() || IMAGE_UID;
  const options = settings.flatMap((setting) => ['--env', setting]);
  // The image's folders are those of group 0: any user in it may write to them.
  const user = `${uid}:0`;
  const folder = join(dataDir, 'elasticsearch');
  return {
    command: 'docker',
    args: (port) => dockerRun({ name, port, containerPort: 9200, folder, image: IMAGE, options, command: [], user }),
    detail: `Docker image ${IMAGE}`,
    container: name,
    uid,
  };
}

/**
 * @param {string} dataDir
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<Launch>}
 */
async function fromMaven(dataDir, env) {
  const java = await findOnPath('java', env);
  if (!java) throw new Error('Java is not installed');
  const { stdout, stderr } = await run(java, ['-version'], { env, timeout: 20_000 });
  const version = versionIn(`${stderr}${stdout}`);
  if (!version || !isAtLeast(version, '11')) throw new Error(`${java} is ${version}, 11 or newer is needed`);
  const libraries = await librariesFromMaven(env);
  return {
    command: java,
    args: (port) => [
      MEMORY,
      // Newer than this Elasticsearch: it asks for rights that Java has taken away since.
      ...(isAtLeast(version, '17') ? ['-Djava.security.manager=allow'] : []),
      '-Dlog4j2.level=warn',
      '-cp',
      join(libraries, '*'),
      join(SOURCES, 'ElasticsearchNode.java'),
      join(dataDir, 'elasticsearch'),
      String(port),
    ],
    detail: `${VERSION}, libraries from Maven, run by Java ${version}`,
  };
}

/**
 * Resolved once a machine.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string>} a folder of jars
 */
async function librariesFromMaven(env) {
  const cache = await cacheFolder(env);
  const folder = join(cache, `elasticsearch-${VERSION}`);
  const jars = await readdir(folder).catch(() => []);
  if (jars.length > 0) return folder;
  const maven = await findOnPath('mvn', env);
  if (!maven) throw new Error('Maven is not installed');
  const made = await mkdtemp(`${folder}-`);
  try {
    const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies';
    const { code, stdout, stderr } = await run(
      maven,
      ['--batch-mode', '--quiet', '--file', join(SOURCES, 'pom.xml'), goal, `-DoutputDirectory=${made}`],
      { env, timeout: 300_000 },
    );
    if (code !== 0) throw new Error(`Maven could not fetch its libraries: ${tail(`${stdout}${stderr}`, 2)}`);
    // Somebody else may have been faster.
    await rename(made, folder).catch(() => undefined);
    return folder;
  } finally {
    await rm(made, { recursive: true, force: true });
  }
}

/**
 * @param {Launch} launch
 * @param {{ dataDir: string, log: (line: string) => void, env: NodeJS.ProcessEnv, port?: number | undefined }} options
 * @returns {Promise<Elasticsearch>}
 */
async function start({ command, args, detail, container, uid }, { dataDir, log, env, port: wanted }) {
  const service = 'elasticsearch';
  const stopSignal = 'SIGTERM';
  const held = await claim({ dataDir, service, stopSignal, env });
  try {
    const folder = join(dataDir, service);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    // Of root, that the container's user is not.
    if (uid !== undefined && process.getuid?.() === 0) await chown(folder, uid, 0);
    return await onPort(wanted, async (port) => {
      const url = `http://127.0.0.1:${port}`;
      const server = await startServer({
        command,
        args: args(port),
        options: { env },
        title: 'Elasticsearch',
        service,
        dataDir,
        stopSignal,
        log,
        prepare: async () => container && removeContainer(container, env),
        started: (identity) => held.record({ server: identity, container }),
        async ready() {
          // Docker accepts connections before the container does, and may let them wait.
          const signal = AbortSignal.timeout(5000);
          const answer = await fetch(`${url}/_cluster/health?wait_for_status=yellow&timeout=1s`, { signal });
          if (!answer.ok) throw new Error(`answered ${answer.status}`);
        },
      });
      /** @param {'pause' | 'unpause'} word @param {NodeJS.Signals} signal */
      const change = async (word, signal) => {
        if (!container) process.kill(server.pid, signal);
        else if ((await run('docker', [word, container], { env, timeout: 20_000 })).code !== 0)
          throw new Error(`docker ${word} ${container} failed`);
      };
      return {
        url,
        detail: `${detail}, port ${port}`,
        get pid() {
          return server.pid;
        },
        freeze: () => change('pause', 'SIGSTOP'),
        thaw: () => change('unpause', 'SIGCONT'),
        async stop() {
          await server.stop();
          held.release();
        },
      };
    });
  } catch (error) {
    held.release();
    throw error;
  }
}
