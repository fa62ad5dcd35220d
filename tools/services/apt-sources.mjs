import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * @typedef {{ uri: string, suites: string[], components: string[], signedBy?: string, trusted?: string }} Source
 * `signedBy` as in a deb822 file: a path, or a key over several indented lines.
 */

/**
 * The machine's distribution, for instance `{ id: 'debian', codename: 'bookworm' }`.
 *
 * @returns {Promise<{ id: string, codename: string }>}
 */
export async function machineRelease() {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  /** @param {string} name */
  const field = (name) => new RegExp(`^${name}="?([^"\n]*)"?$`, 'm').exec(text)?.[1];
  const codename = field('UBUNTU_CODENAME') ?? field('VERSION_CODENAME');
  if (!codename) throw new Error('packages can be fetched on Debian and Ubuntu only');
  return { id: field('ID') ?? 'unknown', codename };
}

/**
 * A deb822 sources file for one release, from the mirror this machine itself uses for its distribution.
 *
 * @param {string} suite
 * @returns {Promise<string>}
 */
export async function aptSources(suite) {
  const { codename } = await machineRelease();
  const sources = (await machineSources()).filter((source) => source.components.includes('main'));
  const source =
    sources.find(({ suites }) => suites.includes(codename)) ??
    sources.find(({ uri }) => /\/(debian|ubuntu|ubuntu-ports)\/?$/.test(uri));
  if (!source) throw new Error(`/etc/apt/sources.list(.d) names no mirror that has ${codename} main`);
  const components = source.components.filter((name) => name === 'main' || name === 'universe');
  const lines = ['Types: deb', `URIs: ${source.uri}`, `Suites: ${suite}`, `Components: ${components.join(' ')}`];
  if (source.signedBy) lines.push(`Signed-By: ${source.signedBy}`);
  if (source.trusted) lines.push(`Trusted: ${source.trusted}`);
  return `${lines.join('\n')}\n`;
}

/** @returns {Promise<Source[]>} */
async function machineSources() {
  const folder = '/etc/apt/sources.list.d';
  const names = (await readdir(folder).catch(() => [])).sort();
  const files = ['/etc/apt/sources.list', ...names.map((name) => join(folder, name))];
  const found = [];
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch(() => '');
    if (file.endsWith('.list')) found.push(...oneLineSources(text));
    else if (file.endsWith('.sources')) found.push(...deb822Sources(text));
  }
  return found;
}

/**
 * `deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] http://mirror/debian bookworm main contrib`
 *
 * @param {string} text
 * @returns {Source[]}
 */
function oneLineSources(text) {
  const found = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (!match?.[2] || !match[3]) continue;
    const options = match[1] ?? '';
    found.push({
      uri: match[2],
      suites: [match[3]],
      components: (match[4] ?? '').split(/\s+/).filter((word) => word !== ''),
      signedBy: /\bsigned-by=(\S+)/i.exec(options)?.[1]?.replaceAll(',', ' '),
      trusted: /\btrusted=(\S+)/i.exec(options)?.[1],
    });
  }
  return found;
}

/**
 * @param {string} text
 * @returns {Source[]}
 */
function deb822Sources(text) {
  const found = [];
  const withoutComments = text.replaceAll(/^#.*\n?/gm, '');
  for (const stanza of withoutComments.split(/\n\s*\n/)) {
    /** @type {Map<string, string>} */
    const fields = new Map();
    for (const [, name, value] of stanza.matchAll(/^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)/gm)) {
      if (name !== undefined && value !== undefined) fields.set(name.toLowerCase(), value.trimEnd());
    }
    /** @param {string} name */
    const words = (name) => (fields.get(name) ?? '').split(/\s+/).filter((word) => word !== '');
    const [uri] = words('uris');
    if (!uri || !words('types').includes('deb') || fields.get('enabled')?.toLowerCase() === 'no') continue;
    found.push({
      uri,
      suites: words('suites'),
      components: words('components'),
      signedBy: fields.get('signed-by'),
      trusted: fields.get('trusted'),
    });
  }
  return found;
}
