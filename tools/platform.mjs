import { spawn } from 'node:child_process';
import { readdirSync, renameSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './services/free-port.mjs';
import { startServices } from './services/index.mjs';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const READY_TIMEOUT_MS = 120_000;
const END_WITHIN_MS = 30_000;
/** Services of the platform, by the folder of their app. */
const SERVICES = readdirSync(join(ROOT, 'apps')).filter((name) => name !== 'platform');

/**
 * @typedef {object} PlatformOptions
 * @property {string} dataDir
 * @property {NodeJS.ProcessEnv} [env]
 * @property {boolean} [separate] one process per service, behind a gateway
 * @property {number} [replicas] processes of each service, when separate
 * @property {(line: string) => void} [log] what the platform says of itself
 * @property {'inherit' | 'ignore' | number} [output] where the processes write their logs
 *
 * @typedef {object} PlatformProcess
 * @property {string} name
 * @property {string[]} argv
 * @property {NodeJS.ProcessEnv} env
 * @property {number} httpPort
 * @property {number} [mqttPort] of a connector behind the gateway
 * @property {number} [mqttsPort]
 * @property {import('node:child_process').ChildProcess} [child]
 * @property {number} starts how often it has been started
 * @property {boolean} [ending] it is not started again
 *
 * @typedef {object} Platform
 * @property {string} httpUrl
 * @property {number} httpsPort REST over TLS, and MQTT over WebSocket
 * @property {number} mqttPort
 * @property {number} mqttsPort
 * @property {string} caFile certificate authority of the ports with TLS
 * @property {string | undefined} apiKey master key of the first tenant, at the first start only, as the other secrets
 * @property {string | undefined} vendorApiKey master key of the first vendor
 * @property {string | undefined} adminApiKey master key of the administrator
 * @property {string} login of the first user
 * @property {string | undefined} password of the first user
 * @property {Awaited<ReturnType<typeof startServices>>} services
 * @property {PlatformProcess[]} processes
 * @property {(service: string, replicas: number) => Promise<void>} scale adds processes of a service, or ends the last ones
 *   as a cluster does it: they get no more work, then a SIGTERM. Resolves when those that are left are ready.
 * @property {() => Promise<void>} stop
 */

/** @param {string} name */
const app = (name) => `apps/${name}/dist/main.js`;

/** @param {number} port @param {string} host */
async function isFree(port, host) {
  const server = createServer();
  return new Promise((done) => {
    server.once('error', () => done(false));
    server.listen(port, host, () => server.close(() => done(true)));
  });
}

/** @param {number} port */
async function accepts(port) {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => done(socket.destroy() && true));
    socket.once('error', () => done(false));
  });
}

/**
 * Starts PostgreSQL, NATS and Redis where the environment names none, brings streams and schemas up to date, and
 * starts the platform's processes. A process that ends by itself is started again, as a cluster would.
 *
 * @param {PlatformOptions} options
 * @returns {Promise<Platform>}
 */
export async function startPlatform({
  dataDir,
  env: given = process.env,
  separate = false,
  replicas = 1,
  log = () => {},
  output = 'inherit',
}) {
  const host = given.ORRERY_BIND_ADDRESS ?? '0.0.0.0';
  const httpPort = Number(given.ORRERY_HTTP_PORT ?? 8080);
  const httpsPort = Number(given.ORRERY_HTTPS_PORT ?? 8443);
  const mqttPort = Number(given.ORRERY_MQTT_PORT ?? 1883);
  const mqttsPort = Number(given.ORRERY_MQTTS_PORT ?? 8883);
  for (const [variable, port] of /** @type {const} */ ([
    ['ORRERY_HTTP_PORT', httpPort],
    ['ORRERY_HTTPS_PORT', httpsPort],
    ['ORRERY_MQTT_PORT', mqttPort],
    ['ORRERY_MQTTS_PORT', mqttsPort],
  ]))
    if (!(await isFree(port, host))) throw new Error(`port ${port} is taken: set ${variable} to a free one`);

  const services = await startServices({ dataDir, log, env: given });
  /** @type {PlatformProcess[]} */
  const processes = [];
  let stopping = false;
  const env = {
    ORRERY_PUBLIC_URL: `http://localhost:${httpPort}`,
    ...given,
    DATABASE_URL: services.databaseUrl,
    NATS_URL: services.natsUrl,
    REDIS_URL: services.redisUrl,
    ORRERY_DATA_DIR: resolve(dataDir),
    ORRERY_HTTPS_PORT: String(httpsPort),
    ORRERY_MQTT_PORT: String(mqttPort),
    ORRERY_MQTTS_PORT: String(mqttsPort),
  };

  /** @param {PlatformProcess} process_ */
  const start = (process_) => {
    const began = Date.now();
    process_.starts++;
    const child = spawn(process.execPath, process_.argv, {
      cwd: ROOT,
      env: { ...process_.env, ORRERY_HTTP_PORT: String(process_.httpPort) },
      stdio: ['ignore', output, output],
    });
    process_.child = child;
    child.once('exit', (code, signal) => {
      if (stopping || process_.ending) return;
      log(`${process_.name} ended (${signal ?? `code ${code}`}); starting it again`);
      setTimeout(() => stopping || process_.ending || start(process_), Date.now() - began > 10_000 ? 0 : 500);
    });
  };

  /** @param {Omit<PlatformProcess, 'starts'>} made */
  const add = (made) => {
    /** @type {PlatformProcess} */
    const process_ = { ...made, env: { ...env, ...made.env }, starts: 0 };
    processes.push(process_);
    start(process_);
    return process_;
  };

  /** Processes of each service, when separate. @type {Map<string, PlatformProcess[]>} */
  const instances = new Map();
  /** A service's further process. @param {string} service @param {number} number from 1, unless it is the only one */
  const addInstance = async (service, number) => {
    const ports = { mqttPort: await freePort(), mqttsPort: await freePort() };
    // What clients connect to is the gateway's.
    const own =
      service === 'mqtt-connector'
        ? {
            env: {
              ORRERY_HTTPS_PORT: String(await freePort()),
              ORRERY_MQTT_PORT: String(ports.mqttPort),
              ORRERY_MQTTS_PORT: String(ports.mqttsPort),
            },
            ...ports,
          }
        : { env: {} };
    const name = number > 0 ? `${service}-${number}` : service;
    const added = add({ name, argv: [app(service)], httpPort: await freePort(), ...own });
    instances.set(service, [...(instances.get(service) ?? []), added]);
  };
  const routesFile = join(resolve(dataDir), 'gateway-routes.json');
  /** Tells the gateway where the instances answer. */
  const writeRoutes = () => {
    const routes = Object.fromEntries(
      [...instances].map(([service, each]) => [
        service,
        each.map(({ httpPort, mqttPort, mqttsPort }) => ({
          http: `http://127.0.0.1:${httpPort}`,
          ...(mqttPort && mqttsPort ? { mqtt: mqttPort, mqtts: mqttsPort } : {}),
        })),
      ]),
    );
    // It reads the whole of one or of the other.
    writeFileSync(`${routesFile}.new`, JSON.stringify(routes));
    renameSync(`${routesFile}.new`, routesFile);
  };

  /** @type {Platform['scale']} */
  const scale = async (service, wanted) => {
    const before = instances.get(service);
    if (!before) throw new Error(`${service}: expected a service of a platform in separate processes`);
    if (!Number.isInteger(wanted) || wanted < 1) throw new Error(`${wanted} replicas: expected a whole number from 1`);
    for (let number = before.length + 1; number <= wanted; number++) await addInstance(service, number);
    const left = (instances.get(service) ?? []).slice(0, wanted);
    instances.set(service, left);
    await ready(left);
    writeRoutes();
    await until(async () => {
      const response = await fetch(`http://127.0.0.1:${httpPort}/health/ready`);
      const { parts } = /** @type {{ parts: Record<string, { instances: number }> }} */ (await response.json());
      return parts[service]?.instances === wanted;
    }, `the gateway does not see ${wanted} instances of ${service}`);
    const removed = before.slice(wanted);
    await Promise.all(removed.map(end));
    for (const process_ of removed) processes.splice(processes.indexOf(process_), 1);
  };

  const stop = async () => {
    if (stopping) return;
    stopping = true;
    // The gateway passes on what the others say last.
    for (const last of [false, true])
      await Promise.all(processes.filter(({ name }) => (name === 'gateway') === last).map(end));
    await services.stop();
  };

  try {
    const secrets = await migrate(env, output);
    if (separate) {
      for (const service of SERVICES)
        for (let replica = 1; replica <= replicas; replica++) await addInstance(service, replicas > 1 ? replica : 0);
      writeRoutes();
      await ready(processes);
      add({
        name: 'gateway',
        argv: ['apps/platform/dist/gateway.js'],
        env: { ORRERY_GATEWAY_ROUTES: routesFile },
        httpPort,
      });
    } else {
      add({ name: 'edge', argv: [app('platform'), 'edge'], env: {}, httpPort });
      add({ name: 'processing', argv: [app('platform'), 'processing'], env: {}, httpPort: await freePort() });
    }
    await ready(processes);
    for (const port of [httpsPort, mqttPort, mqttsPort])
      await until(() => accepts(port), `port ${port} does not answer`);
    return {
      httpUrl: `http://127.0.0.1:${httpPort}`,
      httpsPort,
      mqttPort,
      mqttsPort,
      caFile: join(resolve(dataDir), 'tls', 'ca.pem'),
      ...secrets,
      services,
      processes,
      scale,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Lets a process finish. @param {PlatformProcess} process_ */
async function end(process_) {
  process_.ending = true;
  const { child } = process_;
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once('exit', done));
  child.kill('SIGTERM');
  // A stopped process takes no SIGTERM.
  const force = setTimeout(() => child.kill('SIGKILL'), END_WITHIN_MS);
  await ended;
  clearTimeout(force);
}

/**
 * Runs the migration job.
 * @param {NodeJS.ProcessEnv} env
 * @param {PlatformOptions['output']} output
 * @returns what was given, or made just now
 */
async function migrate(env, output) {
  const child = spawn(process.execPath, ['apps/platform/dist/migrate.js'], {
    cwd: ROOT,
    env,
    stdio: ['ignore', 'pipe', output],
  });
  let text = '';
  child.stdout?.on('data', (data) => (text += data));
  const code = await new Promise((done) => child.once('close', done));
  if (code !== 0) throw new Error(`the migration job failed:\n${text}`);
  /** @param {string} name */
  const printed = (name) =>
    text
      .split('\n')
      .find((line) => line.startsWith(`${name}: `))
      ?.slice(name.length + 2);
  const login = env.ORRERY_BOOTSTRAP_LOGIN ?? 'admin';
  return {
    apiKey: env.ORRERY_BOOTSTRAP_API_KEY ?? printed('master API key'),
    vendorApiKey: env.ORRERY_BOOTSTRAP_VENDOR_API_KEY ?? printed('vendor API key'),
    adminApiKey: env.ORRERY_BOOTSTRAP_ADMIN_API_KEY ?? printed('administrator API key'),
    login,
    password: env.ORRERY_BOOTSTRAP_PASSWORD ?? printed(`password of the user ${login}`),
  };
}

/** @param {PlatformProcess[]} processes */
async function ready(processes) {
  for (const { name, httpPort } of processes)
    await until(
      () =>
        fetch(`http://127.0.0.1:${httpPort}/health/${name === 'gateway' ? 'live' : 'ready'}`).then(
          (response) => response.ok,
          () => false,
        ),
      `${name} is not ready; its log above says why`,
    );
}

/** @param {() => Promise<unknown>} condition @param {string} otherwise */
async function until(condition, otherwise) {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(otherwise);
    await new Promise((done) => setTimeout(done, 50));
  }
}
