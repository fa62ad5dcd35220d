import { readFileSync } from 'node:fs';
import { join } from 'node:path';

// Prints the schemas of the kinds below, with what they refer to, without descriptions. See README.md beside it.

const KINDS = {
  'v1/ConfigMap': 'io.k8s.api.core.v1.ConfigMap',
  'v1/Secret': 'io.k8s.api.core.v1.Secret',
  'v1/Service': 'io.k8s.api.core.v1.Service',
  'v1/ServiceAccount': 'io.k8s.api.core.v1.ServiceAccount',
  'apps/v1/Deployment': 'io.k8s.api.apps.v1.Deployment',
  'apps/v1/StatefulSet': 'io.k8s.api.apps.v1.StatefulSet',
  'autoscaling/v2/HorizontalPodAutoscaler': 'io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler',
  'batch/v1/Job': 'io.k8s.api.batch.v1.Job',
  'networking.k8s.io/v1/Ingress': 'io.k8s.api.networking.v1.Ingress',
  'networking.k8s.io/v1/NetworkPolicy': 'io.k8s.api.networking.v1.NetworkPolicy',
  'policy/v1/PodDisruptionBudget': 'io.k8s.api.policy.v1.PodDisruptionBudget',
};

const [folder = '', version = ''] = process.argv.slice(2);
const file = join(folder, `kubernetes-json-schema/v${version}-local-strict/_definitions.json`);
/** @type {Record<string, unknown>} */
const all = JSON.parse(readFileSync(file, 'utf8')).$defs;
/** @type {Record<string, unknown>} */
const taken = {};
/** @param {string} name */
function take(name) {
  if (name in taken) return;
  if (!(name in all)) throw new Error(`no definition ${name} in ${file}`);
  taken[name] = null;
  taken[name] = reduced(all[name]);
}
/** @param {unknown} value @returns {unknown} */
function reduced(value) {
  if (Array.isArray(value)) return value.map(reduced);
  if (typeof value !== 'object' || value === null) return value;
  /** @type {Record<string, unknown>} */
  const kept = {};
  for (const [key, inner] of Object.entries(value)) {
    if (key === '$ref') {
      const name = String(inner).replace(/^.*\$defs\//, '');
      take(name);
      kept['$ref'] = `#/$defs/${name}`;
      // A property may be called description: then it is a schema.
    } else if (!(key === 'description' && typeof inner === 'string') && !key.startsWith('x-kubernetes')) {
      kept[key] = reduced(inner);
    }
  }
  return kept;
}
for (const name of Object.values(KINDS)) take(name);
const kinds = Object.fromEntries(Object.entries(KINDS).map(([kind, name]) => [kind, `#/$defs/${name}`]));
process.stdout.write(`${JSON.stringify({ version, kinds, $defs: taken })}\n`);
