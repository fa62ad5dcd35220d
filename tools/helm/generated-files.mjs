import { authorizationOf, PERMISSIONS } from './nats-permissions.mjs';

/** Ports beside HTTP that devices and applications reach a service on. @type {Record<string, Array<{ name: string, port: number, protocol: 'TCP' | 'UDP', variable: string, encrypted: boolean }>>} */
const PORTS = {
  'mqtt-connector': [
    { name: 'mqtt', port: 1883, protocol: 'TCP', variable: 'ORRERY_MQTT_PORT', encrypted: false },
    { name: 'mqtts', port: 8883, protocol: 'TCP', variable: 'ORRERY_MQTTS_PORT', encrypted: true },
    { name: 'https', port: 8443, protocol: 'TCP', variable: 'ORRERY_HTTPS_PORT', encrypted: true },
  ],
};

/** Paths of WebSockets, which ingresses pass on to the HTTP port. @type {Record<string, string[]>} */
const WEB_SOCKETS = { 'mqtt-connector': ['/mqtt'] };

/**
 * What a service calls beside PostgreSQL, NATS and Redis: `web` are addresses that tenants give.
 *
 * @type {Record<string, Array<'web' | 'smtp' | 'elasticsearch'>>}
 */
const CALLS = { identity: ['smtp'], routing: ['web', 'smtp'], pipeline: ['web'], search: ['elasticsearch'] };

/**
 * The files of the chart and of `deploy/` that are made from the services themselves, by path.
 *
 * @param {ReadonlyArray<{ name: string, restPaths: string[] }>} services
 * @returns {Record<string, string>}
 */
export function generatedFiles(services) {
  const names = new Set(services.map(({ name }) => name));
  for (const [what, table] of Object.entries({ PERMISSIONS, PORTS, WEB_SOCKETS, CALLS }))
    for (const name of Object.keys(table))
      if (!names.has(name)) throw new Error(`${what} in tools/helm names ${name}, which is no service`);
  const described = services.map(({ name, restPaths }) => ({
    name,
    paths: [...restPaths, ...(WEB_SOCKETS[name] ?? [])],
    ports: PORTS[name] ?? [],
    calls: CALLS[name] ?? [],
  }));
  const note = '# Made by `node tools/helm/generate.mjs` from tools/helm/nats-permissions.mjs; do not edit.\n';
  const every = services.map(({ name }) => name);
  const alone = Object.fromEntries(every.map((name) => [name, [name]]));
  return {
    'helm/orrery/files/services.json': `${JSON.stringify({ services: described }, null, 2)}\n`,
    'helm/orrery/files/nats-authorization.conf': note + authorizationOf({ migrate: undefined, ...alone }),
    'deploy/nats-authorization.conf': note + authorizationOf({ migrate: undefined, edge: every, processing: every }),
  };
}
