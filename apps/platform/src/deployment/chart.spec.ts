import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { configSchema, loadConfig } from '@orrery/core/config';
import {
  CHART,
  helm,
  kubernetes,
  type Manifest,
  template,
  templateOf,
  valuesFile,
} from '../../../../tools/helm/chart.mjs';
import { generatedFiles } from '../../../../tools/helm/generated-files.mjs';
import { services } from '../services.js';

// The chart with values as installations have them, held against Kubernetes' schemas and the services themselves.

const ROOT = join(CHART, '../..');
const VALUES = ['small', 'production', 'external', 'search'];
const NAMES = services.map(({ name }) => name);

interface Env {
  name: string;
  value?: string;
  valueFrom?: { secretKeyRef: { name: string; key: string; optional?: boolean } };
}
interface Container {
  name: string;
  image: string;
  env?: Env[];
  ports?: Array<{ name: string; containerPort: number }>;
  securityContext: { readOnlyRootFilesystem: boolean; [field: string]: unknown };
  resources: { requests?: object; limits?: { memory?: string } };
  volumeMounts: Array<{ name: string; mountPath: string }>;
  [field: string]: unknown;
}
interface Pod {
  automountServiceAccountToken: boolean;
  securityContext: { [field: string]: unknown };
  containers: Container[];
  volumes: Array<{ name: string }>;
  terminationGracePeriodSeconds: number;
}
interface Spec {
  template: { metadata: { labels: Record<string, string> }; spec: Pod };
  selector?: { matchLabels?: Record<string, string> } & Record<string, unknown>;
  [field: string]: unknown;
}

const specOf = (manifest: Manifest): Spec => manifest['spec'] as Spec;
const component = (manifest: Manifest): string | undefined => manifest.metadata.labels?.['app.kubernetes.io/component'];
const kinds = (manifests: Manifest[], kind: string): Manifest[] => manifests.filter((each) => each.kind === kind);
const workloads = (manifests: Manifest[]): Manifest[] =>
  manifests.filter(({ kind }) => ['Deployment', 'StatefulSet', 'Job'].includes(kind));
const containerOf = (manifest: Manifest): Container => specOf(manifest).template.spec.containers[0]!;
const covers = (selector: object, labels: Record<string, string>): boolean =>
  Object.entries(selector).every(([key, value]) => labels[key] === value);

const rendered = new Map<string, Manifest[]>();
beforeAll(async () => {
  for (const values of VALUES) rendered.set(values, await template('--values', valuesFile(values)));
});
const made = (values: string): Manifest[] => rendered.get(values)!;

it('is made from the services as they are', () => {
  for (const [path, text] of Object.entries(generatedFiles(services))) {
    const current = readFileSync(join(ROOT, path), 'utf8');
    if (current !== text) throw new Error(`${path} is not up to date: run node tools/helm/generate.mjs after a build`);
  }
  const schema = JSON.parse(readFileSync(join(CHART, 'values.schema.json'), 'utf8')) as {
    properties: { services: { properties: object } };
  };
  expect(Object.keys(schema.properties.services.properties).sort()).toEqual(NAMES.toSorted());
});

describe.each(VALUES)('with %s values', (values) => {
  it('passes helm lint', async () => {
    const { code, stdout, stderr } = await helm('lint', CHART, '--strict', '--values', valuesFile(values));
    expect(`${stdout}${stderr}`).not.toMatch(/\[(ERROR|WARNING)\]/);
    expect(code).toBe(0);
  });

  it.each(['1.30', '1.35'])('makes what Kubernetes %s takes', async (version) => {
    const problemsOf = await kubernetes(version);
    // Not a kind of Kubernetes itself, but of the Prometheus operator.
    const manifests = made(values).filter(({ kind }) => kind !== 'ServiceMonitor');
    expect(manifests.length).toBeGreaterThan(30);
    expect(manifests.flatMap(problemsOf)).toEqual([]);
  });

  it('gives each object a name of its own', () => {
    const names = made(values).map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    for (const { metadata } of made(values)) expect(metadata.name).toMatch(/^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/);
  });

  it('runs each service by itself', () => {
    const deployments = kinds(made(values), 'Deployment');
    expect(deployments.map(component).sort()).toEqual(NAMES.toSorted());
    for (const deployment of deployments) {
      const { template: pod, selector } = specOf(deployment);
      expect(covers(selector!.matchLabels!, pod.metadata.labels)).toBe(true);
      const others = deployments.filter((other) =>
        covers(selector!.matchLabels!, specOf(other).template.metadata.labels),
      );
      expect(others).toHaveLength(1);
      const container = containerOf(deployment);
      expect(container['args']).toEqual([component(deployment)]);
      const ports = new Set(container.ports!.map(({ name }) => name));
      for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'])
        expect(ports).toContain((container[probe] as { httpGet: { port: string } }).httpGet.port);
    }
  });

  it('gives processes the time to leave load balancers, and then to finish what is under way', () => {
    for (const deployment of kinds(made(values), 'Deployment')) {
      const { spec } = specOf(deployment).template;
      const drain = containerOf(deployment).env!.find(({ name }) => name === 'ORRERY_DRAIN_MS')!.value;
      expect(Number(drain)).toBeGreaterThanOrEqual(5000);
      expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(Number(drain) / 1000 + 25);
    }
  });

  it('has services that reach ports of pods', () => {
    const pods = workloads(made(values)).map((manifest) => specOf(manifest).template);
    const found = kinds(made(values), 'Service');
    expect(found.length).toBeGreaterThan(NAMES.length);
    for (const service of found) {
      const { selector, ports } = specOf(service) as unknown as {
        selector: object;
        ports: Array<{ port: number; targetPort?: string }>;
      };
      const reached = pods.filter(({ metadata }) => covers(selector, metadata.labels));
      expect(reached).toHaveLength(1);
      const open = reached[0]!.spec.containers.flatMap((container) => container.ports ?? []);
      for (const { port, targetPort } of ports)
        expect(open).toContainEqual(
          expect.objectContaining(targetPort === undefined ? { containerPort: port } : { name: targetPort }),
        );
      expect(ports.length).toBeGreaterThan(0);
    }
  });

  it('lets no process be more than it needs', () => {
    for (const workload of workloads(made(values))) {
      const { spec } = specOf(workload).template;
      expect(spec.automountServiceAccountToken).toBe(false);
      expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
      expect(spec.securityContext['runAsUser']).toBeGreaterThan(0);
      for (const container of spec.containers) {
        expect(container.securityContext).toMatchObject({
          allowPrivilegeEscalation: false,
          // Elasticsearch alone writes into its own folders.
          readOnlyRootFilesystem: container.name !== 'elasticsearch',
          capabilities: { drop: ['ALL'] },
        });
        expect(container.resources.limits?.memory).toBeDefined();
        const volumes = new Set([...spec.volumes.map(({ name }) => name), 'data']);
        for (const mount of container.volumeMounts) expect(volumes).toContain(mount.name);
        expect(container.image).toMatch(/(:[\w.-]+|@sha256:[0-9a-f]{64})$/);
        expect(container.image).not.toMatch(/:latest$/);
      }
    }
  });

  it('holds no secret, and refers to all of them', () => {
    expect(kinds(made(values), 'Secret')).toEqual([]);
    for (const workload of workloads(made(values)))
      for (const { name, value } of containerOf(workload).env ?? []) {
        if (/PASSWORD|SECRET_KEY|API_KEY/.test(name)) expect({ name, value }).toEqual({ name, value: undefined });
        // A password in an address is another variable.
        if (value?.includes('@')) expect(value.split(',').every((url) => /:\$\(\w+_PASSWORD\)@/.test(url))).toBe(true);
      }
  });

  it('configures every process with variables that exist and are valid', () => {
    const processes = workloads(made(values)).filter(({ kind }) => kind !== 'StatefulSet');
    expect(processes).toHaveLength(NAMES.length + 1);
    for (const workload of processes) {
      const env = containerOf(workload).env!;
      for (const { name } of env)
        if (!/^(\w+_PASSWORD|NODE_EXTRA_CA_CERTS)$/.test(name) || name.startsWith('ORRERY_'))
          expect(Object.keys(configSchema.shape)).toContain(name);
      // As Kubernetes fills them in: references go to variables before.
      const filled: Record<string, string> = {};
      for (const { name, value, valueFrom } of env) {
        if (valueFrom?.secretKeyRef.optional) continue;
        filled[name] = value?.replaceAll(/\$\((\w+)\)/g, (_, other: string) => filled[other]!) ?? SECRETS[name]!;
        expect(filled[name]).not.toMatch(/undefined/);
      }
      expect(() => loadConfig(filled)).not.toThrow();
    }
  });

  it('lets each service speak on NATS as itself', () => {
    for (const deployment of kinds(made(values), 'Deployment')) {
      const env = containerOf(deployment).env!;
      const name = component(deployment)!;
      expect(env.find((each) => each.name === 'NATS_URL')!.value).toContain(`nats://${name}:$(NATS_PASSWORD)@`);
      const key = `NATS_PASSWORD_${name.toUpperCase().replaceAll('-', '_')}`;
      expect(env.find((each) => each.name === 'NATS_PASSWORD')!.valueFrom!.secretKeyRef.key).toBe(key);
    }
  });
});

const SECRETS: Record<string, string> = {
  ORRERY_SECRET_KEY: Buffer.alloc(32, 1).toString('base64'),
  DATABASE_URL: 'postgres://a:b@c:1/d',
  REDIS_URL: 'redis://:b@c:1',
  NATS_PASSWORD: 'p1',
  POSTGRES_PASSWORD: 'p2',
  REDIS_PASSWORD: 'p3',
  ELASTIC_PASSWORD: 'p4',
};

it('makes names that Kubernetes can add to, of the longest that a release can have', async () => {
  const everything = ['nats', 'postgresql', 'redis', 'elasticsearch'].flatMap((name) => [
    '--set',
    `dependencies.${name}.enabled=true`,
  ]);
  // 53 is what helm takes.
  const manifests = await templateOf('r'.repeat(53), '--values', valuesFile('small'), ...everything);
  for (const { metadata } of manifests) expect(metadata.name.length).toBeLessThanOrEqual(63);
  const servers = kinds(manifests, 'StatefulSet');
  expect(servers).toHaveLength(4);
  // The name, a hyphen and ten characters are a label of the pods, which has 63 at most.
  for (const { metadata } of servers) expect(metadata.name.length).toBeLessThanOrEqual(52);
});

it('asks the ingress for the paths that the services answer, on every host', () => {
  const ingresses = kinds(made('production'), 'Ingress');
  for (const { name, restPaths } of services) {
    const expected = name === 'mqtt-connector' ? [...restPaths, '/mqtt'] : restPaths;
    const ingress = ingresses.find((each) => component(each) === name)!;
    const { rules } = specOf(ingress) as unknown as {
      rules: Array<{
        host: string;
        http: { paths: Array<{ path: string; backend: { service: { name: string } } }> };
      }>;
    };
    expect(rules.map(({ host }) => host)).toEqual(['iot.example.com', 'api.example.com']);
    for (const { http } of rules) {
      expect(http.paths.map(({ path }) => path)).toEqual(expected);
      for (const { backend } of http.paths) expect(backend.service.name).toBe(`orrery-${name}`);
    }
  }
});

it('scales each service as its values say', () => {
  const scalers = kinds(made('production'), 'HorizontalPodAutoscaler');
  const scaled = NAMES.filter((name) => name !== 'identity');
  expect(scalers.map(component).sort()).toEqual(scaled.toSorted());
  for (const deployment of kinds(made('production'), 'Deployment'))
    // A number here would undo what the autoscaler did, at each upgrade.
    expect(specOf(deployment)['replicas']).toBe(component(deployment) === 'identity' ? 3 : undefined);
  expect(specOf(scalers.find((each) => component(each) === 'mqtt-connector')!)).toMatchObject({
    minReplicas: 3,
    maxReplicas: 40,
  });
  expect(kinds(made('production'), 'PodDisruptionBudget')).toHaveLength(NAMES.length);
  expect(kinds(made('small'), 'PodDisruptionBudget')).toHaveLength(0);
});

it('opens ports without encryption only when told to', () => {
  const open = (values: string): string[] =>
    (
      specOf(kinds(made(values), 'Service').find((each) => each.metadata.name.endsWith('-devices'))!) as unknown as {
        ports: Array<{ name: string }>;
      }
    ).ports.map(({ name }) => name);
  expect(open('production')).toEqual(['mqtts', 'https']);
  expect(open('small')).toEqual(['mqtt', 'mqtts', 'https']);
});

it('lets only what calls addresses of tenants out of the cluster, and never to private ones', () => {
  const policies = kinds(made('production'), 'NetworkPolicy');
  expect(policies.map(component).sort()).toEqual([...NAMES, 'migration'].sort());
  const outward = policies.filter((policy) => JSON.stringify(policy['spec']).includes('"0.0.0.0/0"'));
  expect(outward.map(component).sort()).toEqual(['pipeline', 'routing']);
  for (const policy of outward)
    expect(JSON.stringify(policy['spec'])).toMatch(/"except":\["10.0.0.0\/8".*"169.254.0.0\/16"/);
});

describe('traces', () => {
  const collector = (manifests: Manifest[]): Map<string | undefined, unknown[]> =>
    new Map(
      kinds(manifests, 'NetworkPolicy').map((policy) => {
        const { egress } = policy['spec'] as { egress: Array<{ ports?: Array<{ port: number }>; to?: unknown }> };
        return [component(policy), egress.filter(({ ports }) => ports?.some(({ port }) => port === 4318))];
      }),
    );
  const endpointOf = (workload: Manifest): string | undefined =>
    containerOf(workload).env?.find(({ name }) => name === 'OTEL_EXPORTER_OTLP_ENDPOINT')?.value;

  it('go from every service to the collector, and from nothing else', () => {
    const manifests = made('production');
    for (const deployment of kinds(manifests, 'Deployment')) {
      expect(endpointOf(deployment)).toBe('http://collector.monitoring:4318');
      const ratio = containerOf(deployment).env?.find(({ name }) => name === 'OTEL_TRACES_SAMPLER_ARG');
      expect(ratio!.value).toBe('0.001');
    }
    const to = [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }];
    for (const name of NAMES) expect(collector(manifests).get(name)).toEqual([{ ports: [{ port: 4318 }], to }]);
    expect(collector(manifests).get('migration')).toEqual([]);
  });

  it('go nowhere unless a collector is named', () => {
    for (const workload of workloads(made('small')).filter(({ kind }) => kind !== 'StatefulSet'))
      expect(endpointOf(workload)).toBeUndefined();
    expect([...collector(made('small')).values()].flat()).toEqual([]);
  });

  it.each([
    ['https://otlp.example.com/', 443],
    ['http://otlp.example.com', 80],
    ['http://[fd00::1]:4318/base', 4318],
  ])('to %s leave on port %i', async (endpoint, port) => {
    const manifests = await template('--values', valuesFile('small'), '--set', `tracing.endpoint=${endpoint}`);
    const policy = kinds(manifests, 'NetworkPolicy').find((each) => component(each) === 'store')!;
    const { egress } = policy['spec'] as { egress: object[] };
    expect(egress).toContainEqual({ ports: [{ port }] });
  });
});

it('monitors the port on which every service has its metrics', () => {
  const [monitor] = kinds(made('production'), 'ServiceMonitor');
  const { selector, endpoints } = specOf(monitor!) as unknown as {
    selector: { matchLabels: object; matchExpressions: Array<{ key: string; values: string[] }> };
    endpoints: Array<{ port: string; path: string }>;
  };
  const [expression] = selector.matchExpressions;
  const found = kinds(made('production'), 'Service').filter(
    ({ metadata }) =>
      covers(selector.matchLabels, metadata.labels!) && expression!.values.includes(metadata.labels![expression!.key]!),
  );
  expect(found.map(component).sort()).toEqual(NAMES.toSorted());
  for (const service of found)
    expect((specOf(service) as unknown as { ports: object[] }).ports).toContainEqual(
      expect.objectContaining({ name: endpoints[0]!.port }),
    );
});

describe('refuses', () => {
  it.each([
    ['an unknown value', ['--set', 'replicas=2'], /replicas/],
    ['an unknown service', ['--set', 'services.stroe.replicas=2'], /stroe/],
    ['an unknown setting of a service', ['--set', 'services.store.replica=2'], /replica/],
    ['a number that is none', ['--set', 'services.store.replicas=two'], /replicas/],
    ['a secret in the configuration', ['--set', 'config.ORRERY_SECRET_KEY=x'], /ORRERY_SECRET_KEY/],
    ['a database with its password', ['--set', 'config.DATABASE_URL=postgres://a:b@c/d'], /DATABASE_URL/],
    ['a server without port', ['--set', 'nats.servers={nats}'], /nats.servers|servers/],
    ['no NATS', ['--set', 'nats.servers=null'], /nats.servers: expected host:port/],
    [
      'less time to end than a process takes',
      ['--set', 'services.store.drainSeconds=60'],
      /services.store.terminationGracePeriodSeconds: expected more than/,
    ],
    ['no certificate', ['--set', 'mqtt.tls.secretName='], /mqtt.tls.secretName: expected a secret/],
    ['an ingress without host', ['--set', 'ingress.enabled=true'], /hosts/],
    ['a digest that is none', ['--set', 'image.digest=latest'], /digest/],
  ])('%s', async (_, args, message) => {
    await expect(template('--values', valuesFile('external'), ...args)).rejects.toThrow(message);
  });

  it('what Kubernetes does not know, and what it wants otherwise', async () => {
    const problemsOf = await kubernetes('1.35');
    const deployment = structuredClone(kinds(made('small'), 'Deployment')[0]!);
    specOf(deployment)['replica'] = 2;
    specOf(deployment)['replicas'] = 'two';
    const problems = problemsOf(deployment).join('\n');
    expect(problems).toMatch(/additional properties.*replica/);
    expect(problems).toMatch(/spec\/replicas must be integer/);
    expect(problemsOf({ apiVersion: 'apps/v1', kind: 'Deploymint', metadata: { name: 'x' } })).toHaveLength(1);
  });
});
