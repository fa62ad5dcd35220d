import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** Runs a command in the project's folder, its output shown. @param {string} command @param {string[]} args */
export function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

/** Installs the dependencies of the lock file, unless they are there. */
export function installDependencies() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    console.error(`Node ${process.versions.node} is too old: 20.19 or newer is needed`);
    process.exit(1);
  }
  const marker = join(ROOT, 'node_modules', '.package-lock.json');
  if (!existsSync(marker) || statSync(marker).mtimeMs < statSync(join(ROOT, 'package-lock.json')).mtimeMs)
    run('npm', ['ci', '--no-audit', '--no-fund']);
}

/** Compiles what has changed; says more only when that fails. */
export function build() {
  console.log('building ...');
  const { status, stdout, stderr, error } = spawnSync(
    'npx',
    ['--no-install', 'nx', 'run-many', '-t', 'build', '--outputStyle=static'],
    { cwd: ROOT, encoding: 'utf8' },
  );
  if (error) throw error;
  if (status === 0) return;
  console.error(`${stdout}${stderr}`);
  process.exit(status ?? 1);
}
