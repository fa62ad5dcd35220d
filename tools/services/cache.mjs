import { lstat, mkdir, access } from 'node:fs/promises';
import { constants } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * The folder for what is fetched once a machine: `$XDG_CACHE_HOME/orrery`, else `~/.cache/orrery`, else (system users
 * have no home) a folder under the temporary directory that belongs to this user alone.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string>} a folder that exists and can be written
 */
export async function cacheFolder(env) {
  const home = join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'), 'orrery');
  try {
    await mkdir(home, { recursive: true });
    await access(home, constants.W_OK);
    return home;
  } catch {
    const uid = process.getuid?.() ?? 0;
    const own = join(tmpdir(), `orrery-cache-${uid}`);
    await mkdir(own, { recursive: true, mode: 0o700 });
    const found = await lstat(own);
    // What lies here is executed: a folder that somebody else prepared under a guessable name must not be used.
    if (!found.isDirectory() || (process.getuid && (found.uid !== uid || (found.mode & 0o022) !== 0))) {
      throw new Error(`${home} cannot be written, and ${own} does not belong to this user alone: set XDG_CACHE_HOME.`);
    }
    return own;
  }
}
