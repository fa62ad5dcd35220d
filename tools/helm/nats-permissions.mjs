/**
 * What each service may publish and subscribe to, beside what every process needs: it answers under its own name.
 *
 * @typedef {{ publish: string[], subscribe: string[], reads: Array<'data' | 'STAGES' | 'AUDIT'> }} Permissions
 * `reads` names streams; `data` are those with one stream per partition.
 */

const DATA = ['ready.*', 'decode.*', 'transform.*'];

/** @type {Record<string, Permissions>} */
export const PERMISSIONS = {
  identity: {
    publish: ['control.apiKey', 'control.tenant', 'control.userMail', 'control.bssRule'],
    subscribe: ['control.userMail', 'control.bssRule'],
    reads: [],
  },
  'device-manager': {
    publish: ['events.*', 'control.device', 'control.group', 'downlink.>', 'rpc.search.streamsOfDevice', 'dead.*'],
    subscribe: [],
    reads: ['data'],
  },
  'audit-log': { publish: [], subscribe: [], reads: ['AUDIT'] },
  // The journey of a message is asked of those that it came by.
  store: {
    publish: [...DATA, 'rpc.store.*', 'rpc.identity.longestKept', 'rpc.*.journeyOf', 'dead.*'],
    subscribe: [],
    reads: ['data', 'STAGES'],
  },
  search: {
    publish: ['rpc.store.*', 'rpc.identity.findMasterKey', 'rpc.identity.longestKept', 'dead.*'],
    subscribe: [],
    reads: ['data'],
  },
  routing: {
    publish: [
      'control.fifo',
      'fifo.wake.*',
      'fifo.hello',
      'fifo.deliver.*',
      'deliveries.wake.*',
      'sms.waiting',
      'rpc.identity.findMasterKey',
      'rpc.store.*',
      'dead.*',
    ],
    // FIFOs are asked for by partition.
    subscribe: ['rpc.routing.*.*', 'control.fifo', 'fifo.wake.*', 'deliveries.wake.*'],
    reads: ['data'],
  },
  'event-processing': {
    publish: ['events.*', 'rpc.store.*', 'rpc.device-manager.*', 'dead.*'],
    subscribe: [],
    reads: ['data'],
  },
  pipeline: {
    publish: ['ready.*', 'transform.*', 'stages.TRANSFORM.*', 'dead.*'],
    subscribe: [],
    reads: ['data'],
  },
  decoder: { publish: ['ready.*', 'transform.*', 'stages.DECODE.*', 'dead.*'], subscribe: [], reads: ['data'] },
  'mqtt-connector': {
    publish: [
      ...DATA,
      'events.*',
      'mqtt.takeover',
      'rpc.identity.findMasterKey',
      'rpc.identity.findCaCertificate',
      'rpc.device-manager.*',
      'rpc.routing.*',
      'rpc.routing.*.*',
    ],
    subscribe: [
      'mqtt.takeover',
      'control.device',
      'control.group',
      'fifo.deliver.*',
      'fifo.hello',
      'downlink.x-connector.*.*',
    ],
    reads: ['STAGES'],
  },
};

const BUCKETS = ['KV_orrery_leases', 'KV_orrery_registry'];
/** Streams that are read whole by one service alone, or by none: nobody else may look into them. */
const CLOSED = [...BUCKETS, 'CONTROL', 'DEAD', 'AUDIT', 'STAGES'];

/**
 * @param {string} user who gets answers where nobody else listens
 * @param {string[]} names of the services in the process
 * @param {Permissions} permissions
 * @returns {{ publish: { allow: string[], deny: string[] }, subscribe: { allow: string[] } }}
 */
function rulesOf(user, names, { publish, subscribe, reads }) {
  const readData = reads.includes('data');
  const named = reads.filter((stream) => stream !== 'data');
  const streams = readData ? ['*', ...named] : named;
  return {
    publish: {
      allow: [
        ...publish,
        'audit.entries',
        'rpc.identity.findApiKey',
        'rpc.identity.extendSession',
        'rpc.identity.removedTenants',
        // What each service did with a message.
        'rpc.*.journeyOf',
        '$JS.API.INFO',
        '$JS.API.STREAM.INFO.*',
        // How far readers are behind, for metrics.
        ...(readData ? ['$JS.API.STREAM.LIST'] : []),
        // Whoever holds the lease frees the streams of what is read.
        '$JS.API.STREAM.PURGE.*',
        ...BUCKETS.flatMap((bucket) => [`$JS.API.DIRECT.GET.${bucket}.>`, `$JS.API.STREAM.MSG.GET.${bucket}`]),
        '$KV.orrery_leases.>',
        'leases.*',
        '$KV.orrery_registry.reader.>',
        ...streams.flatMap((stream) => [
          `$JS.API.CONSUMER.CREATE.${stream}.>`,
          `$JS.API.CONSUMER.INFO.${stream}.*`,
          `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
          `$JS.API.CONSUMER.DELETE.${stream}.*`,
        ]),
      ],
      deny: [
        ...['KV_orrery_registry', 'CONTROL', 'AUDIT'].map((stream) => `$JS.API.STREAM.PURGE.${stream}`),
        ...(readData
          ? CLOSED.filter((stream) => !reads.some((read) => read === stream)).map(
              (stream) => `$JS.API.CONSUMER.CREATE.${stream}.>`,
            )
          : []),
      ],
    },
    subscribe: {
      allow: [
        ...names.map((name) => `rpc.${name}.*`),
        ...subscribe,
        'control.apiKey',
        'control.tenant',
        'leases.*',
        `_INBOX.${user}.>`,
      ],
    },
  };
}

/** @param {string} service @returns {string} the variable with the password of its user, for nats-server */
export const passwordVariable = (service) => `NATS_PASSWORD_${service.toUpperCase().replaceAll('-', '_')}`;

/**
 * The block `authorization` of nats-server's configuration. Passwords come from its environment; they begin with a
 * letter and hold letters and digits alone, or nats-server takes them for something else.
 *
 * @param {Record<string, string[] | undefined>} users the services that each is; undefined may do everything
 * @returns {string}
 */
export function authorizationOf(users) {
  /** @param {string} name @param {string[]} subjects */
  const list = (name, subjects) =>
    `          ${name}: [\n${subjects.map((subject) => `            ${JSON.stringify(subject)}\n`).join('')}          ]\n`;
  const blocks = Object.entries(users).map(([user, services]) => {
    const login = `user: ${JSON.stringify(user)}, password: $${passwordVariable(user)}`;
    if (!services) return `    { ${login} }\n`;
    const { publish, subscribe } = rulesOf(user, services, together(services));
    return `    {
      ${login}
      permissions: {
        publish: {
${list('allow', publish.allow)}${list('deny', publish.deny)}        }
        subscribe: {
${list('allow', subscribe.allow)}        }
        # Questions of other services are answered where they ask for it.
        allow_responses: { max: 1, expires: "1m" }
      }
    }
`;
  });
  return `authorization {\n  users: [\n${blocks.join('')}  ]\n}\n`;
}

/** @param {string[]} services @returns {Permissions} of a process with these */
function together(services) {
  const all = services.map((name) => {
    const permissions = PERMISSIONS[name];
    if (!permissions) throw new Error(`tools/helm/nats-permissions.mjs does not say what ${name} may do on the bus`);
    return permissions;
  });
  return {
    publish: [...new Set(all.flatMap(({ publish }) => publish))],
    subscribe: [...new Set(all.flatMap(({ subscribe }) => subscribe))],
    reads: [...new Set(all.flatMap(({ reads }) => reads))],
  };
}
