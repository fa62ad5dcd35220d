import { setTimeout as sleep } from 'node:timers/promises';

/** A machine that has other things to do takes its time. */
const READY_MS = 300_000;

/**
 * @typedef {import('../platform.mjs').Platform} Platform
 * @typedef {import('../platform.mjs').PlatformProcess} PlatformProcess
 * @typedef {'nats' | 'postgres' | 'redis'} Server
 */

/**
 * What can be done to the processes and servers of a platform that runs on this machine. Whatever is ended here is
 * started again by whom it was started (platform.mjs, services/server.mjs).
 */
export class Cluster {
  /** How often each process was ended here. @type {Map<string, number>} */
  ended = new Map();

  /** @param {Platform} platform */
  constructor(platform) {
    this.platform = platform;
  }

  /** Names of the services that run in processes of their own. */
  get services() {
    return [...new Set(this.platform.processes.map(({ name }) => name.replace(/-\d+$/, '')))];
  }

  /** The processes of a service. @param {string} service */
  instances(service) {
    return this.platform.processes.filter(({ name }) => name.replace(/-\d+$/, '') === service);
  }

  /** @param {string} name @returns {PlatformProcess} */
  process(name) {
    const found = this.platform.processes.find((each) => each.name === name);
    if (!found)
      throw new Error(`no process ${name} among ${this.platform.processes.map((each) => each.name).join(', ')}`);
    return found;
  }

  /** @param {string} name @param {NodeJS.Signals} signal */
  signal(name, signal) {
    if (signal === 'SIGKILL') this.ended.set(name, (this.ended.get(name) ?? 0) + 1);
    this.process(name).child?.kill(signal);
  }

  /** Kills processes and waits until those that follow are ready. @param {...string} names */
  async kill(...names) {
    const before = names.map((name) => this.process(name).starts);
    for (const name of names) this.signal(name, 'SIGKILL');
    for (const [i, name] of names.entries())
      await until(() => this.process(name).starts > /** @type {number} */ (before[i]), `${name} was not started again`);
    await this.ready(names);
  }

  /** Stops processes, and lets them go on when `during` has ended. @param {string[]} names @param {() => Promise<unknown>} during */
  async freeze(names, during) {
    const frozen = names.map((name) => this.process(name).child);
    for (const child of frozen) child?.kill('SIGSTOP');
    try {
      await during();
    } finally {
      for (const child of frozen) child?.kill('SIGCONT');
    }
  }

  /** @param {Server} server @returns {number} */
  pid(server) {
    const pid = this.platform.services.pids[server];
    if (pid === undefined) throw new Error(`${server} was given by the environment: it is not ours to end`);
    return pid;
  }

  /** Ends servers, together, and waits until those that follow answer. @param {Server[]} servers @param {NodeJS.Signals} [signal] */
  async endServers(servers, signal = 'SIGKILL') {
    const ended = servers.map((server) => this.pid(server));
    for (const pid of ended) process.kill(pid, signal);
    for (const [i, server] of servers.entries())
      await until(() => this.pid(server) !== ended[i], `${server} was not started again`);
  }

  /** Which of the processes say that they are ready; all when none are named. @param {readonly string[]} [names] */
  health(names = this.platform.processes.map(({ name }) => name)) {
    return Promise.all(
      names.map((name) =>
        fetch(`http://127.0.0.1:${this.process(name).httpPort}/health/ready`, {
          signal: AbortSignal.timeout(5000),
        }).then(
          ({ ok }) => ok,
          () => false,
        ),
      ),
    );
  }

  /** @param {readonly string[]} [names] */
  async ready(names = this.platform.processes.map(({ name }) => name)) {
    /** @type {string[]} */
    let unready = [];
    await until(
      async () => {
        const health = await this.health(names);
        unready = names.filter((_, i) => !health[i]);
        return unready.length === 0;
      },
      () => `not ready again: ${unready.join(', ')}`,
    );
  }

  /** Processes that ended although nobody had ended them here. @returns {string[]} */
  get endedByThemselves() {
    return this.platform.processes
      .filter(({ name, starts }) => starts - 1 > (this.ended.get(name) ?? 0))
      .map(({ name }) => name);
  }
}

/**
 * @param {() => Promise<boolean> | boolean} condition
 * @param {string | (() => string)} otherwise
 * @param {number} [timeoutMs]
 */
export async function until(condition, otherwise, timeoutMs = READY_MS) {
  for (const deadline = Date.now() + timeoutMs; !(await condition()); await sleep(50))
    if (Date.now() > deadline)
      throw new Error(`${typeof otherwise === 'string' ? otherwise : otherwise()} within ${timeoutMs / 1000} s`);
}
