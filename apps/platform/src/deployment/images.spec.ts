import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { configSchema, loadConfig } from '@orrery/core/config';
import { instructionsOf, runCommands } from '../../../../tools/deploy/dockerfile.mjs';
import { CHART } from '../../../../tools/helm/chart.mjs';

// The image and docker-compose.yml, as far as they can be checked without Docker. `node tools/deploy/replay.mjs` does the
// steps of the image.

const ROOT = join(CHART, '../..');
const DEPLOY = join(ROOT, 'deploy');
const read = (file: string): string => readFileSync(join(DEPLOY, file), 'utf8');

describe('the image', () => {
  const instructions = instructionsOf(read('Dockerfile'));
  const last = instructions.slice(instructions.findLastIndex(({ instruction }) => instruction === 'FROM'));
  const values = (instruction: string): string[] =>
    last.filter((each) => each.instruction === instruction).map(({ value }) => value);

  it('runs as a user that is not root, given as a number', () => {
    expect(values('USER')).toEqual(['1000:1000']);
    // Nothing is done as root after that.
    const at = last.findIndex(({ instruction }) => instruction === 'USER');
    expect(last.slice(at).some(({ instruction }) => instruction === 'RUN')).toBe(false);
  });

  it('is built from one base that can be named by its digest, and by the lock file', () => {
    const bases = instructions.filter(({ instruction }) => instruction === 'FROM').map(({ value }) => value);
    for (const base of bases) expect(base).toMatch(/^\$\{NODE_IMAGE\}( AS \w+)?$/);
    const [argument] = instructions.filter(({ instruction }) => instruction === 'ARG');
    expect(argument!.value).toMatch(/^NODE_IMAGE=node:\d+\.\d+\.\d+-\w+-slim$/);
    const commands = runCommands(read('Dockerfile'))['build']!;
    expect(commands.some((command) => command.startsWith('npm ci '))).toBe(true);
    expect(commands.join('\n')).not.toMatch(/npm (install|i) |curl |wget |apt/);
    expect(instructions.some(({ instruction }) => instruction === 'ADD')).toBe(false);
  });

  // A build does packages in the order of their dependencies, two at a time: one that is not named may be there by luck.
  it('is built from packages that name those that they import', () => {
    const missing = ['libs', 'apps'].flatMap((kind) =>
      readdirSync(join(ROOT, kind)).flatMap((folder) => {
        const file = (...path: string[]): string => join(ROOT, kind, folder, ...path);
        if (!existsSync(file('package.json'))) return [];
        const { name, dependencies = {} } = JSON.parse(readFileSync(file('package.json'), 'utf8')) as {
          name: string;
          dependencies?: Record<string, string>;
        };
        const sources = readdirSync(file('src'), { recursive: true, encoding: 'utf8' }).filter(
          // As tsconfig.json of each package leaves out.
          (source) => /\.tsx?$/.test(source) && !/\.spec\.tsx?$|^testing\//.test(source),
        );
        expect(sources.length).toBeGreaterThan(0);
        const imported = sources.flatMap((source) =>
          [...readFileSync(file('src', source), 'utf8').matchAll(/'(@orrery\/[\w-]+)[\w/-]*'/g)].map(
            ([, other]) => other!,
          ),
        );
        return [...new Set(imported)]
          .filter((other) => other !== name && !(other in dependencies))
          .map((other) => `${name} imports ${other}`);
      }),
    );
    expect(missing).toEqual([]);
  });

  it('has what it starts and checks itself with', () => {
    const [check] = values('HEALTHCHECK');
    const files = [...`${check} ${values('ENTRYPOINT').join(' ')}`.matchAll(/"\/app\/(deploy\/[\w.]+)"/g)];
    expect(files.map(([, file]) => file).sort()).toEqual(['deploy/entrypoint.mjs', 'deploy/health.mjs']);
    for (const [, file] of files) {
      expect(existsSync(join(ROOT, file!))).toBe(true);
      // Kept by the step that removes the rest of the folder.
      expect(read('Dockerfile')).toContain(`! -name '${file!.slice('deploy/'.length)}'`);
    }
  });

  it('says what it can start when it is told to start something else', async () => {
    const start = (...args: string[]): Promise<{ stderr: string; code: number }> =>
      promisify(execFile)(process.execPath, [join(DEPLOY, 'entrypoint.mjs'), ...args], { env: {} }).then(
        () => ({ stderr: '', code: 0 }),
        (error: { stderr: string; code: number }) => error,
      );
    for (const name of ['stroe', '../store', 'store/dist', '']) {
      const { stderr, code } = await start(name);
      expect({ name, code }).toEqual({ name, code: 64 });
      expect(stderr).toContain(`there is no "${name}": expected a service`);
    }
    const apps = readdirSync(join(ROOT, 'apps')).filter((name) => existsSync(join(ROOT, 'apps', name, 'dist/main.js')));
    // It stops at its configuration, which is missing here.
    if (apps.includes('store')) expect((await start('store')).stderr).toContain('Configuration is not usable');
  });

  it('is unhealthy while nothing answers', async () => {
    const check = promisify(execFile)(process.execPath, [join(DEPLOY, 'health.mjs')], {
      env: { ORRERY_HTTP_PORT: '1' },
    });
    await expect(check).rejects.toMatchObject({ code: 1 });
  });
});

interface ComposeService {
  image: string;
  command: string[];
  environment: Record<string, string>;
  volumes?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test?: string[]; disable?: boolean };
  restart: string;
  [field: string]: unknown;
}

describe('docker-compose.yml', () => {
  const file = parse(read('docker-compose.yml'), { merge: true }) as {
    services: Record<string, ComposeService>;
    volumes: Record<string, null>;
  };
  const services = Object.entries(file.services);
  const own = ['migrate', 'edge', 'processing'];

  /** Values as Compose fills them in. */
  async function variables(): Promise<Record<string, string>> {
    const { stdout } = await promisify(execFile)(process.execPath, [join(DEPLOY, 'passwords.mjs')]);
    return Object.fromEntries(
      stdout.split('\n').map((line) => [line.split('=', 1)[0], line.slice(line.indexOf('=') + 1)]),
    );
  }
  const filled = (text: string, env: Record<string, string>): string =>
    text
      .replaceAll(/(?<!\$)\$\{(\w+)(?::([-?])(.*?))?\}/g, (_, name: string, kind?: string, rest?: string) => {
        const value = env[name] ?? (kind === '-' ? rest : undefined);
        if (value === undefined) throw new Error(`${name} is not given`);
        return value;
      })
      .replaceAll('$$', '$');

  it('starts the servers, the migration job and the platform, in this order', () => {
    expect(Object.keys(file.services)).toEqual(['nats', 'postgres', 'redis', 'elasticsearch', ...own]);
    for (const [, { depends_on: before = {} }] of services)
      for (const [name, { condition }] of Object.entries(before)) {
        expect(Object.keys(file.services)).toContain(name);
        if (condition === 'service_healthy') expect(file.services[name]!.healthcheck!.test).toBeDefined();
      }
    expect(file.services['migrate']!.restart).toBe('no');
    for (const name of ['edge', 'processing'])
      expect(file.services[name]!.depends_on).toEqual({ migrate: { condition: 'service_completed_successfully' } });
  });

  it('has every volume and file that it mounts', () => {
    for (const [, { volumes = [] }] of services)
      for (const volume of volumes) {
        const [source] = volume.split(':');
        if (source!.startsWith('.')) expect(existsSync(join(DEPLOY, source!))).toBe(true);
        else expect(Object.keys(file.volumes)).toContain(source);
      }
  });

  it('configures the platform with variables that exist and are valid, given what passwords.mjs prints', async () => {
    const env = await variables();
    for (const name of own) {
      const environment = Object.fromEntries(
        Object.entries(file.services[name]!.environment).map(([key, value]) => [key, filled(value, env)]),
      );
      for (const variable of Object.keys(environment)) expect(Object.keys(configSchema.shape)).toContain(variable);
      const config = loadConfig(environment);
      const url = new URL(config.NATS_URL);
      expect(url.username).toBe(name);
      expect(url.password).toBe(env[`NATS_PASSWORD_${name.toUpperCase()}`]);
      expect(new URL(config.DATABASE_URL).password).toBe(env['POSTGRES_PASSWORD']);
    }
    for (const [, { environment }] of services)
      for (const value of Object.values(environment)) expect(() => filled(String(value), env)).not.toThrow();
  });

  it('gives nobody a password that it does not make up', () => {
    expect(read('docker-compose.yml')).not.toMatch(/(PASSWORD|SECRET_KEY)(:|=) *['"]?[A-Za-z0-9]/);
  });

  it('has the users of NATS that the processes are, and a bus that keeps what it acknowledges', () => {
    const users = [...read('nats-authorization.conf').matchAll(/user: "(.*?)", password: \$(\w+)/g)];
    expect(users.map(([, user]) => user)).toEqual(own);
    const variables = users.map(([, , variable]) => variable);
    expect(variables.sort()).toEqual(Object.keys(file.services['nats']!.environment).sort());
    expect(read('nats.conf')).toMatch(/sync_interval: always/);
    expect(read('nats.conf')).toMatch(/max_payload: 8MB/);
  });

  it('runs the same servers as the chart', () => {
    const { dependencies } = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')) as {
      dependencies: Record<string, { image: string }>;
    };
    for (const [name, service] of [
      ['nats', 'nats'],
      ['postgresql', 'postgres'],
      ['redis', 'redis'],
      ['elasticsearch', 'elasticsearch'],
    ] as const)
      expect(file.services[service]!.image).toBe(dependencies[name]!.image);
  });
});
