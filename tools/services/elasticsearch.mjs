import { chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { claim } from './claim.mjs';
import { messageOf, run } from './commands.mjs';
import { containerName, dockerRun, pullImage, removeContainer } from './docker.mjs';
import { version7, version8 } from './elasticsearch-libraries.mjs';
import { onPort, requireDocker } from './finding.mjs';
import { startServer } from './server.mjs';

/** That of docker-compose.yml and of the chart. */
const IMAGE = 'docker.elastic.co/elasticsearch/elasticsearch:8.19.13';
/** User of the image. It refuses to be root. */
const IMAGE_UID = 1000;

/**
 * @typedef {object} Elasticsearch
 * @property {string} url
 * @property {string} detail
 * @property {number} [pid]
 * @property {() => Promise<void>} [freeze] it listens and answers nothing, until it is thawed; not of one that was given
 * @property {() => Promise<void>} [thaw]
 * @property {() => Promise<void>} stop
 *
 * @typedef {object} Launch
 * @property {string} command
 * @property {(port: number, settings: readonly string[]) => string[]} args
 * @property {import('node:child_process').SpawnOptions} options
 * @property {string} detail
 * @property {readonly string[]} folders that it writes to
 * @property {number} [uid] whose they must be, where we are root
 * @property {string} [container]
 */

/**
 * Elasticsearch for tests and benchmarks: ELASTICSEARCH_URL when it is given, else version 8 in a container when a Docker
 * engine answers, else version 8 when an earlier run has fetched it, else 7, fetched with Maven; Java runs them. It has no
 * passwords and listens on 127.0.0.1. ORRERY_ELASTICSEARCH_VERSION (7 or 8) asks for one version and no other.
 *
 * @param {{ dataDir: string, log: (line: string) => void, env?: NodeJS.ProcessEnv, port?: number,
 *   settings?: readonly string[], brief?: boolean }} options `log` gets one line: what was chosen, or why there is none. A
 *   free port unless one is given. `settings` of elasticsearch.yml, each `name=value`. `brief`: it begins soon and is slow
 * @returns {Promise<Elasticsearch | undefined>} undefined when it can't be had here
 */
export async function startElasticsearch({ dataDir, log, env = process.env, port, settings = [], brief = false }) {
  const given = env['ELASTICSEARCH_URL'];
  if (given) {
    log('Elasticsearch: ELASTICSEARCH_URL from the environment');
    return { url: given, detail: 'ELASTICSEARCH_URL from the environment', stop: async () => undefined };
  }
  const reasons = [];
  for (const find of waysTo(env['ORRERY_ELASTICSEARCH_VERSION'])) {
    try {
      const started = await start(await find(dataDir, env, brief), { dataDir, log, env, port, settings });
      // Nobody asked for an older one.
      const why = find === version7 && reasons.length > 0 ? `; no newer one: ${reasons.join('; ')}` : '';
      log(`Elasticsearch: ${started.detail}${why}`);
      return started;
    } catch (error) {
      reasons.push(messageOf(error).replaceAll(/\s+/g, ' '));
    }
  }
  log(`Elasticsearch could not be started, what needs it is left out: no ELASTICSEARCH_URL; ${reasons.join('; ')}`);
  return undefined;
}

/** @param {string | undefined} version */
function waysTo(version) {
  switch (version || undefined) {
    case undefined:
      return [inDocker, version8, version7];
    case '7':
      return [version7];
    case '8':
      return [inDocker, version8];
    default:
      throw new Error(`ORRERY_ELASTICSEARCH_VERSION has to be 7 or 8, not ${version}.`);
  }
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
  const fixed = [
    'discovery.type=single-node',
    // Neither passwords nor TLS, which version 8 sets up by itself otherwise.
    'xpack.security.enabled=false',
    'path.data=/data',
    // The host's vm.max_map_count may be too small for it.
    'node.store.allow_mmap=false',
    'cluster.routing.allocation.disk.threshold_enabled=false',
    // Each time it takes away the blocks of indices for a full disk, as a test sets them.
    'cluster.info.update.interval=1d',
    'xpack.ml.enabled=false',
    // It asks an address on the Internet.
    'ingest.geoip.downloader.enabled=false',
    // Both, or the heap begins with a size of its own.
    'ES_JAVA_OPTS=-Xms512m -Xmx512m',
  ];
  const uid = process.getuid?.() || IMAGE_UID;
  // The image's folders are those of group 0: any user in it may write to them.
  const user = `${uid}:0`;
  const folder = join(dataDir, 'elasticsearch');
  return {
    command: 'docker',
    args: (port, settings) => {
      const options = [...fixed, ...settings].flatMap((setting) => ['--env', setting]);
      return dockerRun({ name, port, containerPort: 9200, folder, image: IMAGE, options, command: [], user });
    },
    options: { env },
    detail: `Docker image ${IMAGE}`,
    folders: [folder],
    uid,
    container: name,
  };
}

/**
 * @param {Launch} launch
 * @param {{ dataDir: string, log: (line: string) => void, env: NodeJS.ProcessEnv, port?: number | undefined,
 *   settings: readonly string[] }} options
 * @returns {Promise<Elasticsearch>}
 */
async function start(launch, { dataDir, log, env, port: wanted, settings }) {
  const { command, args, options, detail, folders, uid, container } = launch;
  const service = 'elasticsearch';
  const stopSignal = 'SIGTERM';
  const held = await claim({ dataDir, service, stopSignal, env });
  try {
    for (const folder of folders) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      // Of root, that the server's user is not.
      if (uid !== undefined && process.getuid?.() === 0) await chown(folder, uid, 0);
    }
    return await onPort(wanted, async (port) => {
      const url = `http://127.0.0.1:${port}`;
      const server = await startServer({
        command,
        args: args(port, settings),
        options,
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
