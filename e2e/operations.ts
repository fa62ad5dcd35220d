import type { AccountType, Role } from '@orrery/core/auth';

/** Identifiers of what a tenant owns; those of a stranger that owns nothing are unknown everywhere. */
export interface Things {
  activityRuleId: string;
  apiKeyId: string;
  certificateId: string;
  contextKey: string;
  decoderId: string;
  deviceId: string;
  fifoName: string;
  firingGuardId: string;
  firingRuleId: string;
  groupId: string;
  interfaceId: string;
  licenseId: string;
  matchingRuleId: string;
  nodeId: string;
  pipelineId: string;
  /** A stored message: bookmarks are made of it. */
  messageId: string;
  policyId: string;
  reindexingId: string;
  ruleId: string;
  section: string;
  stateProcessingRuleId: string;
  streamId: string;
  tenantId: string;
  userId: string;
  zoneId: string;
}

/** What the platform promises of an operation. */
export interface Operation {
  /** Roles that a key needs, all of them; none when any valid key will do. */
  roles: readonly Role[];
  /** Types of accounts that may use it; all when absent. */
  accounts?: readonly AccountType[];
  /** For those who have no key yet. */
  public?: true;
  /** A valid body that names these things, so that only their absence can be the reason of a refusal. */
  body?: (things: Things) => unknown;
  query?: (things: Things) => string;
  /**
   * What a tenant gets that names the things of another one: `absent` as if they did not exist anywhere, `own` something
   * of its own, whose names may be the same. What the administrator manages belongs to no other tenant: `nobody`.
   */
  stranger: 'absent' | 'own' | 'nobody';
}

const interfaceOf = ({ nodeId }: Things): object => ({ connector: 'mqtt', definition: { clientId: nodeId } });
const policyOf = ({ fifoName, deviceId }: Things): object => ({
  enabled: true,
  triggers: { dataMessage: { version: 1, filter: { deviceIds: [deviceId] } } },
  actions: { fifoPublish: [{ fifoName }] },
});

const pipelineOf = (): object => ({
  name: 'stranger',
  priorityLevel: 1,
  enabled: false,
  steps: [{ type: 'externalTransformation', url: 'https://transformer.example.com/enrich' }],
});

const searchOf = ({ streamId, deviceId, messageId }: Things): object => ({
  query: {
    bool: {
      should: [
        { term: { streamId } },
        { term: { 'metadata.source': deviceId } },
        { ids: { values: [messageId] } },
        { match_all: {} },
      ],
    },
  },
  aggs: { streams: { terms: { field: 'streamId' }, aggs: { last: { top_hits: { size: 1 } } } } },
});

const VENDORS: readonly AccountType[] = ['VENDOR', 'ADMIN'];
const ADMINISTRATOR: readonly AccountType[] = ['ADMIN'];
const DECODERS = {
  binary: { format: 'ubyte a;' },
  csv: { columns: [{ name: 'a', jsonType: 'STRING' }] },
  javascript: { script: 'function decode(payload) { return {}; }' },
  'javascript-split': { script: 'function decode(payload) { return [{ value: {} }]; }' },
};
let newcomers = 0;
/** A login, and a name, that nobody has. */
const newcomer = (): string => `newcomer-${++newcomers}`;

const SUBSCRIPTIONS = '/api/v1/vendor/bss/customers/{tenantId}';
const DEVICE = '/api/v1/deviceMgt/devices/{deviceId}';
const INTERFACE = `${DEVICE}/interfaces/{interfaceId}`;
const LICENSES = `${DEVICE}/licenses`;
/** The operations are the same for all types of decoders. */
const decoders: Record<string, Operation> = Object.fromEntries(
  Object.entries(DECODERS).flatMap(([kind, definition]) => {
    const path = `/api/v0/decoders/${kind}`;
    const body = (): object => ({ encoding: newcomer(), ...definition });
    const operationsOfKind: Record<string, Operation> = {
      [`GET ${path}`]: { roles: ['DATA_PROCESSING_R'], stranger: 'own' },
      [`POST ${path}`]: { roles: ['DATA_PROCESSING_W'], body, stranger: 'own' },
      [`POST ${path}/test`]: {
        roles: ['DATA_PROCESSING_R'],
        body: () => ({
          ...definition,
          binaryPayloadStructure: 'ubyte a;',
          binaryPayloadHexString: '01',
          csvPayload: 'a',
          payload: '01',
        }),
        stranger: 'own',
      },
      [`GET ${path}/{decoderId}`]: { roles: ['DATA_PROCESSING_R'], stranger: 'absent' },
      [`PUT ${path}/{decoderId}`]: { roles: ['DATA_PROCESSING_W'], body, stranger: 'absent' },
      [`PUT ${path}/{decoderId}/enabled`]: { roles: ['DATA_PROCESSING_W'], body: () => false, stranger: 'absent' },
      [`DELETE ${path}/{decoderId}`]: { roles: ['DATA_PROCESSING_W'], stranger: 'absent' },
    };
    return Object.entries(operationsOfKind);
  }),
);
const license = (): object => ({ data: 'of a stranger', signature: 'stranger' });

const RULES = '/api/v0/eventprocessing';
const predicateOf = ({ streamId }: Things): object => ({ '==': [{ var: 'streamId' }, streamId] });
const matchingRuleOf = (things: Things): object => ({
  name: newcomer(),
  enabled: true,
  dataPredicate: predicateOf(things),
});
const firingRuleOf = ({ matchingRuleId }: Things): object => ({
  name: newcomer(),
  enabled: true,
  firingType: 'ONCE',
  matchingRuleIds: [matchingRuleId],
});
const stateRuleOf = (things: Things): object => ({
  name: newcomer(),
  enabled: true,
  stateKeyPath: 'streamId',
  stateFunction: predicateOf(things),
});
const backtest: Operation = {
  roles: ['DATA_PROCESSING_R', 'DATA_R'],
  body: () => ({ from: '2026-01-01T00:00:00Z' }),
  stranger: 'absent',
};
const activityRuleOf = ({ deviceId }: Things): object => ({
  name: newcomer(),
  enabled: true,
  silentPolicy: { duration: 'P1D' },
  targets: { deviceIds: [deviceId] },
});
const guardsOf = ({ firingRuleId }: Things): object => ({ firingRuleId });
const eventProcessing = {
  ...ofRules('matching-rule', 'matchingRuleId', matchingRuleOf),
  [`POST ${RULES}/matching-rule/test`]: {
    roles: ['DATA_PROCESSING_R'],
    body: (things) => ({ data: {}, dataPredicate: predicateOf(things) }),
    stranger: 'own',
  },
  ...ofRules('firing-rule', 'firingRuleId', firingRuleOf),
  ...Object.fromEntries(
    [
      'matching-rule/{matchingRuleId}',
      'firing-rule/{firingRuleId}',
      'stateprocessing-rule/{stateProcessingRuleId}',
    ].map((rule) => [`POST ${RULES}/${rule}/backtest`, backtest]),
  ),
  ...ofRules('stateprocessing-rule', 'stateProcessingRuleId', stateRuleOf),
  [`POST ${RULES}/stateprocessing-rule/test`]: {
    roles: ['DATA_PROCESSING_R'],
    body: ({ contextKey }) => ({ data: {}, stateProcessingFunction: { ctx: contextKey } }),
    stranger: 'own',
  },
  ...ofRules('activity/rules', 'activityRuleId', activityRuleOf),
  [`GET ${RULES}/activity/states`]: {
    roles: ['DATA_PROCESSING_R'],
    query: ({ activityRuleId, deviceId }) => `activityRuleId=${activityRuleId}&deviceId=${deviceId}`,
    stranger: 'own',
  },
  [`PUT ${RULES}/activity/states/mute`]: {
    roles: ['DATA_PROCESSING_W'],
    body: ({ activityRuleId, deviceId }) => ({ nextAlarmOrder: 'MUTE', activityRuleId, deviceId }),
    stranger: 'own',
  },
  [`GET ${RULES}/firing-guard`]: { roles: ['DATA_PROCESSING_R'], stranger: 'own' },
  [`POST ${RULES}/firing-guard/search`]: { roles: ['DATA_PROCESSING_R'], body: guardsOf, stranger: 'own' },
  [`DELETE ${RULES}/firing-guard`]: { roles: ['DATA_PROCESSING_W'], body: guardsOf, stranger: 'own' },
  [`GET ${RULES}/firing-guard/{firingGuardId}`]: { roles: ['DATA_PROCESSING_R'], stranger: 'absent' },
  [`DELETE ${RULES}/firing-guard/{firingGuardId}`]: { roles: ['DATA_PROCESSING_W'], stranger: 'absent' },
  [`GET ${RULES}/context`]: { roles: ['DATA_PROCESSING_R'], stranger: 'own' },
  [`DELETE ${RULES}/context`]: { roles: ['DATA_PROCESSING_W'], stranger: 'own' },
  [`GET ${RULES}/context/{contextKey}`]: { roles: ['DATA_PROCESSING_R'], stranger: 'absent' },
  [`DELETE ${RULES}/context/{contextKey}`]: { roles: ['DATA_PROCESSING_W'], stranger: 'absent' },
  [`PUT ${RULES}/context/{contextKey}`]: {
    roles: ['DATA_PROCESSING_W'],
    body: () => ({ contextData: 'stranger' }),
    stranger: 'own',
  },
  [`GET ${RULES}/geozones`]: { roles: ['DATA_PROCESSING_R'], stranger: 'own' },
  [`GET ${RULES}/geozones/{zoneId}`]: { roles: ['DATA_PROCESSING_R'], stranger: 'absent' },
  [`DELETE ${RULES}/geozones/{zoneId}`]: { roles: ['DATA_PROCESSING_W'], stranger: 'absent' },
  [`PUT ${RULES}/geozones/{zoneId}`]: {
    roles: ['DATA_PROCESSING_W'],
    body: () => ({ geometry: { type: 'Polygon', coordinates: [[[0, 0], [1, 0], [1, 1], [0, 0]]] } }), // prettier-ignore
    stranger: 'own',
  },
} satisfies Record<string, Operation>;

/** The operations that rules of every kind have. */
function ofRules(kind: string, id: keyof Things, body: (things: Things) => object): Record<string, Operation> {
  return {
    [`GET ${RULES}/${kind}`]: { roles: ['DATA_PROCESSING_R'], stranger: 'own' },
    [`POST ${RULES}/${kind}`]: { roles: ['DATA_PROCESSING_W'], body, stranger: 'own' },
    [`GET ${RULES}/${kind}/{${id}}`]: { roles: ['DATA_PROCESSING_R'], stranger: 'absent' },
    [`PUT ${RULES}/${kind}/{${id}}`]: { roles: ['DATA_PROCESSING_W'], body, stranger: 'absent' },
    [`DELETE ${RULES}/${kind}/{${id}}`]: { roles: ['DATA_PROCESSING_W'], stranger: 'absent' },
  };
}

/** Every operation of the REST API: one that is not here, or needs other roles than here, fails the tests. */
export const operations: Record<string, Operation> = {
  'GET /api/v0/apiKeys': { roles: ['API_KEY_R'], stranger: 'own' },
  'POST /api/v0/apiKeys': {
    roles: ['API_KEY_W'],
    body: ({ apiKeyId }) => ({ parentId: apiKeyId, label: 'stranger', roles: [] }),
    stranger: 'absent',
  },
  'GET /api/v0/apiKeys/{apiKeyId}': { roles: ['API_KEY_R'], stranger: 'absent' },
  'POST /api/v0/apiKeys/{apiKeyId}': {
    roles: ['API_KEY_W'],
    body: () => ({ label: 'stranger' }),
    stranger: 'absent',
  },
  'DELETE /api/v0/apiKeys/{apiKeyId}': { roles: ['API_KEY_W'], stranger: 'absent' },
  'PUT /api/v0/apiKeys/{apiKeyId}/debugMode': {
    roles: ['API_KEY_W'],
    body: () => ({ activated: true }),
    stranger: 'absent',
  },

  'GET /api/v0/certificates/ca': { roles: ['API_KEY_R'], stranger: 'own' },
  'POST /api/v0/certificates/ca': {
    roles: ['API_KEY_W'],
    body: () => ({ certificate: 'none', comment: 'stranger' }),
    stranger: 'absent',
  },
  'GET /api/v0/certificates/ca/{certificateId}': { roles: ['API_KEY_R'], stranger: 'absent' },
  'DELETE /api/v0/certificates/ca/{certificateId}': { roles: ['API_KEY_W'], stranger: 'absent' },

  'GET /api/v0/tenants/me': { roles: [], stranger: 'own' },
  'GET /api/v0/tenants/me/settings': { roles: ['SETTINGS_R'], stranger: 'own' },
  'DELETE /api/v0/tenants/me/settings/{section}': { roles: ['SETTINGS_W'], stranger: 'absent' },
  'PUT /api/v0/tenants/me/settings/{section}': {
    roles: ['SETTINGS_W'],
    body: () => ({ by: 'stranger' }),
    stranger: 'own',
  },

  'POST /api/v0/auth': { roles: [], public: true, stranger: 'nobody' },
  'POST /api/v0/setpwd': { roles: [], public: true, stranger: 'nobody' },
  'POST /api/v0/resetpwd': { roles: [], public: true, stranger: 'nobody' },
  'POST /api/v0/logout': { roles: [], stranger: 'absent' },
  'GET /api/v0/users': { roles: ['USER_R'], stranger: 'own' },
  'POST /api/v0/users': {
    roles: ['USER_W'],
    body: () => ({ login: newcomer(), email: 'stranger@example.com', roles: ['DEVICE_R'] }),
    stranger: 'own',
  },
  'GET /api/v0/users/me': { roles: [], stranger: 'absent' },
  'POST /api/v0/users/activateUser': { roles: ['USER_W'], body: ({ userId }) => ({ userId }), stranger: 'absent' },
  'GET /api/v0/users/{userId}': { roles: ['USER_R'], stranger: 'absent' },
  'POST /api/v0/users/{userId}': { roles: ['USER_W'], body: () => ({ state: 'disabled' }), stranger: 'absent' },
  'DELETE /api/v0/users/{userId}': { roles: ['USER_W'], stranger: 'absent' },
  'POST /api/v0/users/{userId}/password': {
    roles: [],
    body: () => ({ oldPassword: 'Or-rery1', newPassword: 'Or-rery2' }),
    stranger: 'absent',
  },

  'GET /api/v1/vendor/customers': { roles: ['SETTINGS_R'], accounts: VENDORS, stranger: 'own' },
  'POST /api/v1/vendor/customers': {
    roles: ['SETTINGS_W'],
    accounts: VENDORS,
    body: () => ({ name: newcomer(), login: newcomer(), email: 'stranger@example.com' }),
    stranger: 'own',
  },
  'GET /api/v1/vendor/customers/{tenantId}': { roles: ['SETTINGS_R'], accounts: VENDORS, stranger: 'absent' },
  'DELETE /api/v1/vendor/customers/{tenantId}': { roles: ['SETTINGS_W'], accounts: VENDORS, stranger: 'absent' },
  [`GET ${SUBSCRIPTIONS}/compliance/validated`]: { roles: ['SETTINGS_R'], accounts: VENDORS, stranger: 'absent' },
  [`GET ${SUBSCRIPTIONS}/subscriptions`]: { roles: ['SETTINGS_R'], accounts: VENDORS, stranger: 'absent' },
  [`POST ${SUBSCRIPTIONS}/subscriptions`]: {
    roles: ['SETTINGS_W'],
    accounts: VENDORS,
    query: () => 'ruleDisplayName=Disabled',
    stranger: 'absent',
  },
  [`DELETE ${SUBSCRIPTIONS}/subscriptions`]: {
    roles: ['SETTINGS_W'],
    accounts: VENDORS,
    query: ({ ruleId }) => `ruleId=${ruleId}`,
    stranger: 'absent',
  },
  'GET /api/v1/admin/bss/rules': { roles: ['SETTINGS_R'], accounts: ADMINISTRATOR, stranger: 'nobody' },
  'POST /api/v1/admin/bss/rules': {
    roles: ['SETTINGS_W'],
    accounts: ADMINISTRATOR,
    body: () => ({}),
    stranger: 'nobody',
  },
  'GET /api/v1/admin/bss/rules/{ruleId}': { roles: ['SETTINGS_R'], accounts: ADMINISTRATOR, stranger: 'nobody' },
  'PATCH /api/v1/admin/bss/rules/{ruleId}': {
    roles: ['SETTINGS_W'],
    accounts: ADMINISTRATOR,
    body: () => ({ disabled: true }),
    stranger: 'nobody',
  },
  'GET /api/v1/admin/vendors': { roles: ['SETTINGS_R'], accounts: ADMINISTRATOR, stranger: 'nobody' },
  'POST /api/v1/admin/vendors': {
    roles: ['SETTINGS_W'],
    accounts: ADMINISTRATOR,
    body: () => ({}),
    stranger: 'nobody',
  },
  'PATCH /api/v1/admin/vendors/{tenantId}': {
    roles: ['SETTINGS_W'],
    accounts: ADMINISTRATOR,
    body: () => ({ supportVendorIds: [] }),
    stranger: 'nobody',
  },

  'GET /api/v1/deviceMgt/connectors/lora/connectivities': { roles: ['DEVICE_R'], stranger: 'own' },
  'GET /api/v1/deviceMgt/connectors/lora/profiles': { roles: ['DEVICE_R'], stranger: 'own' },
  'GET /api/v1/deviceMgt/devices': { roles: ['DEVICE_R'], stranger: 'own' },
  'POST /api/v1/deviceMgt/devices': {
    roles: ['DEVICE_W'],
    body: ({ groupId }) => ({ id: 'urn:lo:nsid:stranger:1', group: { id: groupId } }),
    stranger: 'absent',
  },
  [`GET ${DEVICE}`]: { roles: ['DEVICE_R'], stranger: 'absent' },
  [`POST ${DEVICE}`]: { roles: ['DEVICE_W'], body: () => ({ name: 'stranger' }), stranger: 'absent' },
  [`PATCH ${DEVICE}`]: { roles: ['DEVICE_W'], body: () => ({ name: 'stranger' }), stranger: 'absent' },
  [`DELETE ${DEVICE}`]: { roles: ['DEVICE_W'], stranger: 'absent' },
  [`GET ${DEVICE}/data/streams`]: { roles: ['DATA_R'], stranger: 'absent' },
  [`GET ${DEVICE}/interfaces`]: { roles: ['DEVICE_R'], stranger: 'absent' },
  [`POST ${DEVICE}/interfaces`]: { roles: ['DEVICE_W'], body: interfaceOf, stranger: 'absent' },
  [`GET ${INTERFACE}`]: { roles: ['DEVICE_R'], stranger: 'absent' },
  [`PATCH ${INTERFACE}`]: { roles: ['DEVICE_W'], body: () => ({ enabled: false }), stranger: 'absent' },
  [`DELETE ${INTERFACE}`]: { roles: ['DEVICE_W'], stranger: 'absent' },
  [`GET ${LICENSES}`]: { roles: ['DEVICE_R'], stranger: 'absent' },
  [`POST ${LICENSES}`]: { roles: ['DEVICE_W'], body: license, stranger: 'absent' },
  [`PUT ${LICENSES}/{licenseId}`]: { roles: ['DEVICE_W'], body: license, stranger: 'absent' },
  [`DELETE ${LICENSES}/{licenseId}`]: { roles: ['DEVICE_W'], stranger: 'absent' },
  [`GET ${DEVICE}/telemetry`]: { roles: ['DEVICE_R'], stranger: 'absent' },
  'POST /v1/devices/register': {
    roles: ['DEVICE_ACCESS'],
    body: () => ({ sn: 'stranger' }),
    stranger: 'own',
  },
  'GET /api/v1/deviceMgt/groups': { roles: ['DEVICE_R'], stranger: 'own' },
  'POST /api/v1/deviceMgt/groups': {
    roles: ['DEVICE_W'],
    body: ({ groupId }) => ({ pathNode: 'stranger', parentId: groupId }),
    stranger: 'absent',
  },
  'GET /api/v1/deviceMgt/groups/{groupId}': { roles: ['DEVICE_R'], stranger: 'absent' },
  'PUT /api/v1/deviceMgt/groups/{groupId}': {
    roles: ['DEVICE_W'],
    body: () => ({ pathNode: 'stranger', parentId: 'root' }),
    stranger: 'absent',
  },
  'DELETE /api/v1/deviceMgt/groups/{groupId}': { roles: ['DEVICE_W'], stranger: 'absent' },
  'POST /api/v1/deviceMgt/explorer/search': { roles: ['DEVICE_R'], body: () => ({}), stranger: 'own' },
  'POST /api/v1/deviceMgt/explorer/stats': { roles: ['DEVICE_R'], body: () => ({}), stranger: 'own' },

  'GET /api/v0/auditlog/messages': {
    roles: ['LOGS_R'],
    query: ({ deviceId }) => `source.deviceId=${deviceId}`,
    stranger: 'own',
  },

  'GET /api/v0/decoders': { roles: ['DATA_PROCESSING_R'], stranger: 'own' },
  'GET /api/v0/decoders/public': { roles: ['DATA_PROCESSING_R'], stranger: 'own' },
  ...decoders,
  ...eventProcessing,

  'POST /api/v0/data/bulk': {
    roles: ['DATA_W'],
    body: ({ streamId, deviceId }) => [{ streamId, value: { by: 'stranger' }, metadata: { source: deviceId } }],
    stranger: 'own',
  },
  'POST /api/v0/data/streams/{streamId}': {
    roles: ['DATA_W'],
    body: ({ deviceId }) => ({ value: { by: 'stranger' }, metadata: { source: deviceId } }),
    stranger: 'own',
  },
  'GET /api/v0/data/streams/{streamId}': {
    roles: ['DATA_R'],
    query: ({ messageId }) => `bookmarkId=${messageId}`,
    stranger: 'absent',
  },
  'POST /api/v0/data/search': { roles: ['DATA_R'], body: searchOf, stranger: 'own' },
  'POST /api/v1/data/search': { roles: ['DATA_R'], body: searchOf, stranger: 'own' },
  'POST /api/v0/data/search/hits': { roles: ['DATA_R'], body: searchOf, stranger: 'own' },
  'POST /api/v1/data/search/hits': { roles: ['DATA_R'], body: searchOf, stranger: 'own' },
  'GET /api/v1/data/search/counts': { roles: ['DATA_R'], stranger: 'own' },
  'GET /api/v1/data/search/reindexings': { roles: ['DATA_R'], stranger: 'own' },
  'POST /api/v1/data/search/reindexings': { roles: ['DATA_W'], body: () => ({}), stranger: 'own' },
  'GET /api/v1/data/search/reindexings/{reindexingId}': { roles: ['DATA_R'], stranger: 'absent' },
  'DELETE /api/v1/data/search/reindexings/{reindexingId}': { roles: ['DATA_W'], stranger: 'absent' },

  'GET /api/v0/topics/fifo': { roles: ['BUS_CONFIG_R'], stranger: 'own' },
  'POST /api/v0/topics/fifo': {
    roles: ['BUS_CONFIG_W'],
    body: ({ fifoName }) => ({ name: `${fifoName}2`, maxLengthBytes: 1024, messageTtl: 60 }),
    stranger: 'own',
  },
  'GET /api/v0/topics/fifo/{fifoName}': { roles: ['BUS_CONFIG_R'], stranger: 'absent' },
  'PUT /api/v0/topics/fifo/{fifoName}': {
    roles: ['BUS_CONFIG_W'],
    body: () => ({ maxLengthBytes: 2048, messageTtl: 60 }),
    stranger: 'absent',
  },
  'DELETE /api/v0/topics/fifo/{fifoName}': { roles: ['BUS_CONFIG_W'], stranger: 'absent' },
  'GET /api/v1/event2action/actionPolicies': { roles: ['DATA_PROCESSING_R'], stranger: 'own' },
  'POST /api/v1/event2action/actionPolicies': {
    roles: ['DATA_PROCESSING_W'],
    body: policyOf,
    stranger: 'own',
  },
  'GET /api/v1/event2action/actionPolicies/{policyId}': { roles: ['DATA_PROCESSING_R'], stranger: 'absent' },
  'PUT /api/v1/event2action/actionPolicies/{policyId}': {
    roles: ['DATA_PROCESSING_W'],
    body: policyOf,
    stranger: 'absent',
  },
  'DELETE /api/v1/event2action/actionPolicies/{policyId}': { roles: ['DATA_PROCESSING_W'], stranger: 'absent' },
  'POST /api/v1/event2action/actionPolicies/{policyId}/backtest': backtest,
  'GET /api/v1/data/messages/{messageId}/journey': { roles: ['DATA_R', 'LOGS_R'], stranger: 'absent' },
  'GET /api/v1/event2action/sms': { roles: ['DATA_PROCESSING_R'], stranger: 'own' },

  'GET /api/v0/pipelines': { roles: ['DATA_PROCESSING_R'], stranger: 'own' },
  'POST /api/v0/pipelines': { roles: ['DATA_PROCESSING_W'], body: pipelineOf, stranger: 'own' },
  'GET /api/v0/pipelines/{pipelineId}': { roles: ['DATA_PROCESSING_R'], stranger: 'absent' },
  'PUT /api/v0/pipelines/{pipelineId}': { roles: ['DATA_PROCESSING_W'], body: pipelineOf, stranger: 'absent' },
  'DELETE /api/v0/pipelines/{pipelineId}': { roles: ['DATA_PROCESSING_W'], stranger: 'absent' },
};
