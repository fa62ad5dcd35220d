import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parseAllDocuments } from 'yaml';
import { run } from '../services/commands.mjs';
import { findHelm } from './helm.mjs';

const ROOT = join(import.meta.dirname, '../..');
export const CHART = join(ROOT, 'helm/orrery');

/**
 * @typedef {{ apiVersion: string, kind: string, metadata: { name: string, labels?: Record<string, string>, annotations?: Record<string, string> }, [field: string]: unknown }} Manifest
 */

/** @param {string} values @returns {string} the file with these values */
export const valuesFile = (values) => join(CHART, 'ci', `${values}-values.yaml`);

/**
 * @param {string} command
 * @param {string[]} args
 */
export async function helm(command, ...args) {
  return run(await findHelm(), [command, ...args], { cwd: ROOT, timeout: 60_000 });
}

/**
 * What the chart makes of values.
 *
 * @param {string[]} args of `helm template`, after the chart
 * @returns {Promise<Manifest[]>}
 * @throws {Error} with what helm says
 */
export const template = (...args) => templateOf('orrery', ...args);

/**
 * @param {string} release its name
 * @param {string[]} args of `helm template`, after the chart
 * @returns {Promise<Manifest[]>}
 * @throws {Error} with what helm says
 */
export async function templateOf(release, ...args) {
  const { code, stdout, stderr } = await helm('template', release, CHART, '--namespace', 'iot', ...args);
  if (code !== 0) throw new Error(stderr);
  return parseAllDocuments(stdout).flatMap((document) => {
    if (document.errors.length > 0) throw new Error(document.errors.join('\n'));
    return document.toJS() ?? [];
  });
}

/**
 * The API of a Kubernetes, as far as the chart uses it.
 *
 * @param {string} version such as 1.35
 * @returns {Promise<(manifest: Manifest) => string[]>} what is wrong with a manifest; unknown kinds and properties are
 */
export async function kubernetes(version) {
  const schemas = JSON.parse(await readFile(join(import.meta.dirname, `kubernetes/${version}.json`), 'utf8'));
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema({ $id: 'kubernetes', $defs: schemas.$defs });
  return (manifest) => {
    const kind = `${manifest.apiVersion}/${manifest.kind}`;
    const reference = schemas.kinds[kind];
    if (!reference) return [`${kind} is not a kind of Kubernetes ${version} that the chart is known to use`];
    const validate = ajv.getSchema(`kubernetes${reference}`);
    if (!validate) throw new Error(`no schema ${reference}`);
    if (validate(manifest)) return [];
    return (validate.errors ?? []).map(
      ({ instancePath, message, params }) =>
        `${kind} ${manifest.metadata.name}${instancePath} ${message} ${JSON.stringify(params)}`,
    );
  };
}
