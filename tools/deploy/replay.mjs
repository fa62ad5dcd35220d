import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../services/free-port.mjs';
import { startServices } from '../services/index.mjs';
import { runCommands } from './dockerfile.mjs';

// Does the steps of deploy/Dockerfile in a folder of its own, and starts the migration job and services from what comes
// out, as the image would: what a build on a machine without Docker can show. Prints the size.
//
//   node tools/deploy/replay.mjs [service ...]

const root = join(import.meta.dirname, '../..');
const wanted = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'orrery-image-'));
/** @type {import('node:child_process').ChildProcess[]} */
const children = [];
/** @type {Awaited<ReturnType<typeof startServices>> | undefined} */
let servers;
try {
  const app = join(folder, 'app');
  const files = execFileSync('git', ['archive', '--format=tar', 'HEAD'], { cwd: root, maxBuffer: 1 << 30 });
  execFileSync('mkdir', ['-p', app]);
  execFileSync('tar', ['xf', '-', '-C', app], { input: files });
  // As Dockerfile.dockerignore says.
  for (const left of ['docs', 'e2e', 'helm', 'test-results']) rmSync(join(app, left), { recursive: true, force: true });
  // Of somebody whose umask lets nobody else read: the user of the image must.
  execFileSync('chmod', ['-R', 'go=', app]);
  const { build } = runCommands(readFileSync(join(root, 'deploy/Dockerfile'), 'utf8'));
  for (const command of build ?? []) {
    console.log(`RUN ${command.slice(0, 100)}`);
    const { status } = spawnSync('sh', ['-c', command], { cwd: app, stdio: ['ignore', 'ignore', 'inherit'] });
    if (status !== 0) throw new Error(`the command failed: ${command}`);
  }
  // Links must not lead out of what is copied into the image.
  const image = join(folder, 'image');
  cpSync(app, image, { recursive: true, verbatimSymlinks: true });
  rmSync(app, { recursive: true });
  const closed = execFileSync('find', [image, '!', '-type', 'l', '!', '-perm', '-o=r'], { encoding: 'utf8' });
  if (closed !== '') throw new Error(`the user of the image cannot read:\n${closed}`);
  const size = execFileSync('du', ['-sm', image], { encoding: 'utf8' }).split('\t')[0];
  console.log(`/app takes ${size} MiB`);

  const data = join(folder, 'data');
  servers = await startServices({ dataDir: data, log: (line) => console.log(line) });
  /** @param {string} name @param {number} port */
  const start = (name, port) => {
    const child = spawn(process.execPath, [join(image, 'deploy/entrypoint.mjs'), name], {
      cwd: image,
      stdio: 'inherit',
      env: {
        PATH: process.env.PATH,
        NODE_ENV: 'production',
        ORRERY_DATA_DIR: data,
        ORRERY_BIND_ADDRESS: '127.0.0.1',
        ORRERY_HTTP_PORT: String(port),
        ORRERY_HTTPS_PORT: '0',
        ORRERY_MQTT_PORT: '0',
        ORRERY_MQTTS_PORT: '0',
        ORRERY_LOG_LEVEL: 'warn',
        DATABASE_URL: servers?.databaseUrl,
        NATS_URL: servers?.natsUrl,
        REDIS_URL: servers?.redisUrl,
      },
    });
    children.push(child);
    return child;
  };
  const code = await new Promise((done) => start('migrate', 0).once('close', done));
  if (code !== 0) throw new Error(`migrate ended with ${code}`);
  console.log('migrate: done');
  for (const name of wanted.length > 0 ? wanted : ['platform']) {
    const port = await freePort();
    const child = start(name, port);
    for (const deadline = Date.now() + 60_000; ; await new Promise((done) => setTimeout(done, 200))) {
      if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`);
      const { status } = spawnSync(process.execPath, [join(image, 'deploy/health.mjs')], {
        env: { ORRERY_HTTP_PORT: String(port) },
      });
      if (status === 0) break;
      if (Date.now() > deadline) throw new Error(`${name} is not healthy`);
    }
    const ready = await fetch(`http://127.0.0.1:${port}/health/ready`);
    console.log(`${name}: ready ${ready.status}`);
    if (!ready.ok) throw new Error(await ready.text());
    const ended = new Promise((done) => child.once('exit', done));
    child.kill('SIGTERM');
    console.log(`${name}: SIGTERM ends it with ${await ended}`);
  }
} finally {
  for (const child of children) if (child.exitCode === null) child.kill('SIGKILL');
  await servers?.stop();
  rmSync(folder, { recursive: true, force: true });
}
