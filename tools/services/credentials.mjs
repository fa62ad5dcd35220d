import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const password = () => randomBytes(24).toString('base64url');

/** @typedef {{ postgres: string, nats: string, redis: string }} Passwords */

/**
 * The passwords of the servers on a data directory, generated at the first start. Their characters need no escaping in
 * a URL or a configuration file.
 *
 * @param {string} dataDir
 * @returns {Passwords}
 */
export function servicePasswords(dataDir) {
  mkdirSync(dataDir, { recursive: true });
  const file = join(dataDir, 'service-passwords.json');
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ENOENT') {
      throw new Error(`${file} cannot be read as JSON: restore it, or remove ${dataDir} with all its data.`, {
        cause: error,
      });
    }
  }
  const made = `${file}.${process.pid}`;
  writeFileSync(made, JSON.stringify({ postgres: password(), nats: password(), redis: password() }), { mode: 0o600 });
  try {
    linkSync(made, file);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
  } finally {
    rmSync(made, { force: true });
  }
  return JSON.parse(readFileSync(file, 'utf8'));
}
