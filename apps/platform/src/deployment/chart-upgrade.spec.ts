import { type Manifest, template, valuesFile } from '../../../../tools/helm/chart.mjs';

// What an installation and an upgrade of it do differently.

interface Spec {
  replicas?: number;
  selector?: object;
  template?: object;
  [field: string]: unknown;
}

const ofKind = (manifests: Manifest[], kind: string): Manifest[] => manifests.filter((each) => each.kind === kind);
const job = (manifests: Manifest[]): Manifest => ofKind(manifests, 'Job')[0]!;
const HOOK = { 'helm.sh/hook': 'pre-install,pre-upgrade' };

let installed: Manifest[];
beforeAll(async () => {
  installed = await template('--values', valuesFile('small'));
});

it('runs migrations before each installation and upgrade', async () => {
  const production = await template('--values', valuesFile('production'));
  expect(job(production).metadata.annotations).toMatchObject(HOOK);
});

it('runs migrations beside the servers that the same installation brings, and before upgrades of them', async () => {
  expect(job(installed).metadata).not.toHaveProperty('annotations');
  const upgrade = await template('--values', valuesFile('small'), '--is-upgrade');
  expect(job(upgrade).metadata.annotations).toMatchObject(HOOK);
  expect(job(upgrade).metadata.name).not.toBe(job(installed).metadata.name);
});

it('changes nothing at an upgrade that Kubernetes keeps as it was made', async () => {
  const servers = ['nats', 'postgresql', 'redis'];
  const changes = [
    'image.tag=9.9.9',
    'config.ORRERY_LOG_LEVEL=debug',
    'mqtt.service.type=LoadBalancer',
    'defaults.replicas=3',
    'defaults.autoscaling.enabled=true',
    'defaults.podDisruptionBudget.enabled=true',
    ...servers.map((name) => `dependencies.${name}.resources.limits.memory=3Gi`),
    ...servers.map((name) => `dependencies.${name}.image=registry.example.com/${name}:9`),
  ].flatMap((change) => ['--set', change]);
  /** What an update of each workload may not change. */
  const fixed = (manifests: Manifest[]): Map<string, object> =>
    new Map(
      ['StatefulSet', 'Deployment'].flatMap((kind) =>
        ofKind(manifests, kind).map((manifest): [string, object] => {
          const { replicas: _, template: pod, ...rest } = manifest['spec'] as Spec;
          expect(pod).toBeDefined();
          return [`${kind} ${manifest.metadata.name}`, kind === 'StatefulSet' ? rest : { selector: rest.selector }];
        }),
      ),
    );
  const upgraded = await template('--values', valuesFile('small'), '--is-upgrade', ...changes);
  expect(JSON.stringify(upgraded)).toContain('registry.example.com/nats:9');
  const [before, after] = [fixed(installed), fixed(upgraded)];
  expect(ofKind(upgraded, 'StatefulSet')).toHaveLength(servers.length);
  expect([...after]).toEqual([...before]);
});
