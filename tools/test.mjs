import { mkdirSync } from 'node:fs';
import { build, installDependencies, run } from './install.mjs';

// Everything that must hold before a change is taken: format, lint, types, generated files, and all tests on real services.
installDependencies();
const npx = (/** @type {string[]} */ ...args) => run('npx', ['--no-install', ...args]);
npx('prettier', '--check', '--log-level', 'warn', '.');
npx('oxlint', '--deny-warnings');
npx('tsc', '-p', 'tsconfig.json');
build();
run(process.execPath, ['tools/reference.mjs', '--check']);
mkdirSync('test-results', { recursive: true });
run(process.execPath, [
  '--experimental-vm-modules',
  '--no-warnings',
  'node_modules/jest/bin/jest.js',
  '--json',
  '--outputFile=test-results/jest.json',
  ...process.argv.slice(2),
]);
run(process.execPath, ['tools/conformance.mjs', '--check']);
