import { stat } from 'node:fs/promises';
import { run } from './commands.mjs';

/**
 * PostgreSQL and Elasticsearch refuse to run as root. Everybody else runs them as themselves.
 *
 * @typedef {{ uid?: number, gid?: number, cwd: string }} RunAs
 *
 * @typedef {object} UnprivilegedUser
 * @property {number} [uid] only where we are root
 * @property {number} [gid]
 * @property {(command: string, args: readonly string[]) => [string, string[], RunAs]} command what to spawn so that the
 *   command runs as that user
 *
 * @typedef {object} Server
 * @property {string} title for messages
 * @property {string} folder of its data; the user who owns it keeps it
 * @property {readonly string[]} paths folders that it has to enter
 * @property {NodeJS.Signals} stopSignal
 * @property {string} variable of the environment that names a server which runs elsewhere
 */

/**
 * @param {Server} server
 * @returns {Promise<UnprivilegedUser>}
 */
export async function unprivilegedUser({ title, folder, paths, stopSignal, variable }) {
  if (process.getuid?.() !== 0) return { command: (command, args) => [command, [...args], { cwd: '/' }] };

  const { uid, gid } = (await ownerOf(folder)) ?? (await unprivileged(title));
  const reach = ['-c', 'for folder; do cd "$folder" || exit 1; done', 'sh', ...paths];
  if ((await run('sh', reach, { uid, gid, cwd: '/' })).code === 0) {
    return { uid, gid, command: (command, args) => [command, [...args], { uid, gid, cwd: '/' }] };
  }

  // A working copy under /root or in a directory made by mktemp is closed to that user: the server may pass there with a
  // capability. The first allows reading alone; containers often have only the second, which allows writing too.
  for (const capability of ['dac_read_search', 'dac_override']) {
    const change = [
      `--reuid=${uid}`,
      `--regid=${gid}`,
      '--clear-groups',
      `--inh-caps=-all,+${capability}`,
      `--ambient-caps=-all,+${capability}`,
      // Else access(2), with which initdb looks for its files, ignores the capabilities of an ordinary user.
      '--securebits=+no_setuid_fixup',
      // A change of user clears the signal that server.mjs asks for at our end.
      `--pdeathsig=${stopSignal.slice(3)}`,
      '--',
    ];
    if ((await run('setpriv', [...change, 'sh', ...reach], { cwd: '/' })).code !== 0) continue;
    return { uid, gid, command: (command, args) => ['setpriv', [...change, command, ...args], { cwd: '/' }] };
  }
  throw new Error(
    `${title} cannot run as root, and user ${uid} may not enter ${paths.join(' or ')}: ` +
      `use directories that others may enter, run as an ordinary user, or set ${variable}.`,
  );
}

/**
 * @param {string} folder
 * @returns {Promise<{ uid: number, gid: number } | undefined>}
 */
async function ownerOf(folder) {
  try {
    const { uid, gid } = await stat(folder);
    return uid === 0 ? undefined : { uid, gid };
  } catch {
    return undefined;
  }
}

/**
 * @param {string} title
 * @returns {Promise<{ uid: number, gid: number }>}
 */
async function unprivileged(title) {
  for (const name of ['postgres', 'nobody']) {
    const [user, group] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
    if (user.code === 0 && group.code === 0) return { uid: Number(user.stdout), gid: Number(group.stdout) };
  }
  throw new Error(`${title} cannot run as root, and there is neither a user "postgres" nor "nobody" to run it as.`);
}
