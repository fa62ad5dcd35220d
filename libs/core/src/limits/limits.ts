interface Limit {
  /** Default of the manual; null is unlimited. */
  value: number | null;
  /** Path of the parameter in the offer settings that sets another value; absent for what no offer can change. */
  setting?: string;
  /** Interface whose rate limiting, switched off by the offer, lifts this limit (manual 23.1). */
  rate?: 'http' | 'mqtt';
  /** Row of chapter 23. */
  about: string;
}

const offer = (value: number | null, setting: string, about: string) => ({ value, setting, about });
const fixed = (value: number, about: string) => ({ value, about });
const httpRate = (value: number, setting: string, about: string) => ({
  ...offer(value, setting, about),
  rate: 'http' as const,
});
const mqttRate = (value: number, setting: string, about: string) => ({
  ...offer(value, setting, about),
  rate: 'mqtt' as const,
});
const fixedHttpRate = (value: number, about: string) => ({ ...fixed(value, about), rate: 'http' as const });
const fixedMqttRate = (value: number, about: string) => ({ ...fixed(value, about), rate: 'mqtt' as const });

const MEBIBYTE = 1_048_576;

/** Every limit of chapter 23: the one place where its default stands. */
export const LIMITS = {
  apiKeys: offer(
    5,
    'accessManagement.maximumApiKeysNumber',
    'API keys of an account, session keys and the master key not counted',
  ),
  users: offer(5, 'accessManagement.maximumUsersNumber', 'users of an account'),
  actionPolicies: offer(50, 'routing.maximumActionPoliciesNumber', 'action policies'),
  actionsPerType: fixed(10, 'actions of each type in one action policy'),
  emailsPerDay: offer(1000, 'routing.maximumEmailsPerDay', 'e-mails emitted a day'),
  smsPerDay: offer(10, 'routing.maximumSmsPerDay', 'SMS emitted by actions a day'),
  httpPushTimeoutMs: fixed(5000, 'milliseconds that httpPush waits for an answer, and for the next packet'),
  httpPushBuffer: fixed(10_000, 'messages buffered by the httpPush actions of an account'),
  filterItems: fixed(20, 'items of one filter list of a trigger'),
  matchingRules: offer(50, 'eventProcessing.maximumMatchingRulesNumber', 'matching rules'),
  firingRules: offer(50, 'eventProcessing.maximumFiringRulesNumber', 'firing rules'),
  stateProcessingRules: offer(50, 'eventProcessing.maximumStateProcessingRulesNumber', 'state processing rules'),
  activityRules: offer(50, 'eventProcessing.maximumActivityRulesNumber', 'activity processing rules'),
  activityRuleDevices: fixed(100, 'device ids of an activity processing rule'),
  activityRuleGroups: fixed(100, 'group paths of an activity processing rule'),
  auditMessages: fixed(10_000_000, 'audit log messages kept'),
  auditDays: fixed(14, 'days that audit log messages are kept'),
  httpPerKeyMinute: httpRate(120, 'http.maximumRequestsPerKeyMinute', 'HTTP requests of an API key a minute'),
  httpPerAccountHour: httpRate(3600, 'http.maximumRequestsPerAccountHour', 'HTTP requests of an account an hour'),
  httpConcurrentReads: fixedHttpRate(80, 'concurrent HTTP reads of an account'),
  httpConcurrentHeavy: fixedHttpRate(5, 'concurrent searches and bulks of an account'),
  bulksPerMinute: httpRate(120, 'http.maximumBulksPerMinute', 'bulks a minute'),
  messagesPerBulk: offer(1000, 'dataManagement.maximumMessagesPerBulk', 'messages of a bulk'),
  fifos: offer(10, 'routing.maximumFifosNumber', 'FIFOs'),
  fifoBytes: offer(20 * MEBIBYTE, 'routing.maximumFifosBytes', 'bytes of all FIFOs together'),
  mqttApplicationConnections: offer(
    100,
    'mqtt.maximumApplicationConnections',
    'concurrent MQTT connections in application mode',
  ),
  mqttApplicationPerKeyMinute: mqttRate(
    120,
    'mqtt.maximumApplicationPublicationsPerKeyMinute',
    'MQTT publications of an API key a minute in application mode',
  ),
  mqttApplicationPerAccountHour: mqttRate(
    3600,
    'mqtt.maximumApplicationPublicationsPerAccountHour',
    'MQTT publications of the account an hour in application mode',
  ),
  mqttDeviceConnections: offer(100, 'mqtt.maximumDeviceConnections', 'concurrent MQTT connections in device mode'),
  mqttDeviceConnectsPerDeviceSecond: fixedMqttRate(1, 'connection attempts of a device a second'),
  mqttDeviceConnectsPerAccountSecond: mqttRate(
    5,
    'mqtt.maximumDeviceConnectsPerAccountSecond',
    'connection attempts of the account a second in device mode',
  ),
  mqttDevicePerConnectionMinute: mqttRate(
    120,
    'mqtt.maximumDevicePublicationsPerConnectionMinute',
    'MQTT publications of a connection a minute in device mode',
  ),
  mqttDevicePerAccountHour: mqttRate(
    3600,
    'mqtt.maximumDevicePublicationsPerAccountHour',
    'MQTT publications of the account an hour in device mode',
  ),
  mqttDeviceSubscribesPerMinute: fixedMqttRate(10, 'MQTT subscribe packets of a connection a minute in device mode'),
  mqttConnectorConnections: offer(
    100,
    'mqtt.maximumConnectorConnections',
    'concurrent MQTT connections in external connector mode',
  ),
  mqttConnectorPerKeyMinute: mqttRate(
    120,
    'mqtt.maximumConnectorPublicationsPerKeyMinute',
    'MQTT publications of an API key a minute in external connector mode',
  ),
  mqttConnectorPerAccountHour: mqttRate(
    3600,
    'mqtt.maximumConnectorPublicationsPerAccountHour',
    'MQTT publications of the account an hour in external connector mode',
  ),
  pipelines: offer(10, 'dataManagement.maximumPipelinesNumber', 'custom pipelines'),
  pipelineBuffer: fixed(10_000, 'messages buffered for an external transformation'),
  pipelineConnectMs: fixed(15_000, 'milliseconds to connect to an external transformation'),
  pipelineSocketMs: fixed(30_000, 'milliseconds of silence of an external transformation'),
  streamReadSize: fixed(1000, 'messages of one read of a stream'),
  streamReadsPerMinute: httpRate(
    25_000,
    'http.maximumStreamReadsPerMinute',
    'messages read through the streams API a minute',
  ),
  dataDays: offer(365, 'dataManagement.storeRetentionDays', 'days that data messages are kept'),
  valueBytes: fixed(MEBIBYTE, 'bytes of the value of a message'),
  messageTags: fixed(10, 'tags of a message'),
  devices: offer(10, 'deviceManagement.maximumAssetsNumber', 'devices'),
  deviceTags: offer(10, 'deviceManagement.maximumTagsNumber', 'tags of a device'),
  deviceProperties: offer(10, 'deviceManagement.maximumPropertiesNumber', 'properties of a device'),
  deviceInterfaces: fixed(5, 'interfaces of a device'),
  groups: fixed(1500, 'groups, the root not counted'),
  groupLevels: fixed(7, 'levels of groups below the root'),
  resourceFileBytes: fixed(10 * MEBIBYTE, 'bytes of a resource file'),
  resourceAliases: fixed(5, 'aliases of a resource'),
  resourceErrorLength: offer(256, 'deviceManagement.maximumResourceErrorLength', 'characters of a resource error'),
  deviceResources: fixed(50, 'resources of a device'),
  inBandStateReads: fixed(10, 'retries of the firmware state read'),
  inBandResultReads: fixed(20, 'retries of the firmware update result read'),
  queuedCommands: fixed(10, 'queued commands of a device'),
  campaigns: offer(50, 'deviceManagement.maximumCampaignsNumber', 'scheduled and ongoing campaigns'),
  campaignDevices: offer(200, 'deviceManagement.maximumCampaignDevicesNumber', 'devices of a campaign'),
  campaignOperations: fixed(5, 'operations of a campaign'),
  twinModels: fixed(20, 'custom twin models'),
  activeTwinOperations: offer(
    30,
    'deviceManagement.maximumActiveTwinOperationsNumber',
    'active twin operations of a device',
  ),
  finalTwinOperations: offer(
    100,
    'deviceManagement.maximumFinalTwinOperationsNumber',
    'final twin operations of a device',
  ),
  twinAttempts: fixed(5, 'attempts of a twin operation'),
  twinWriteBytes: fixed(MEBIBYTE, 'bytes of the values of a twin write'),
  twinReportedPaths: fixed(500, 'paths of reported values of a device'),
  twinReportedBytes: fixed(MEBIBYTE, 'bytes of the reported values of a device'),
  twinMessageBytes: fixed(MEBIBYTE, 'bytes of a data message of reported values'),
  twinObservations: fixed(10, 'observations of a device'),
  coapPayloadBytes: fixed(563_200, 'bytes of a CoAP payload'),
  lwm2mObjects: fixed(200, 'objects of a registration'),
  lwm2mRegistrationsPerMinute: fixed(10, 'Register, Update and De-register of an endpoint a minute'),
  lwm2mNotificationsPerMinute: fixed(60, 'Notify and Send of an endpoint a minute'),
  smsInterfaces: offer(10, 'smsconnect.maximumInterfacesNumber', 'SMS interfaces'),
  smsCommandsPerDay: offer(100, 'smsconnect.maximumSmsOutPerDay', 'outgoing SMS messages a day'),
  loraInterfaces: offer(10, 'lora.maximumInterfacesNumber', 'LoRa interfaces'),
  loraDownlinksPerDay: offer(null, 'lora.maximumDownlinksPerDay', 'outgoing LoRa messages a day'),
  csvDecoders: fixed(100, 'CSV decoders'),
  binaryDecoders: fixed(100, 'binary decoders'),
  javascriptDecoders: fixed(100, 'JavaScript decoders'),
  javascriptSplitDecoders: fixed(100, 'JavaScript split decoders'),
  bootstrapSearchMs: fixed(1000, 'milliseconds of bootstrap searches per 10 s'),
  searchDays: offer(365, 'dataManagement.searchRetentionDays', 'days that data messages are searchable'),
  indexedFields: offer(1000, 'dataManagement.maximumIndexedFieldsNumber', 'indexed fields of the account'),
  searchMs: offer(10_000, 'dataManagement.maximumSearchMs', 'milliseconds of search per 10 s'),
  caCertificates: offer(10, 'accessManagement.maximumCaCertificatesNumber', 'CA certificates'),
  networkMetricsDays: fixed(31, 'days that network metrics are kept'),
} as const satisfies Record<string, Limit>;

export type LimitName = keyof typeof LIMITS;

/** The limits of a tenant that differ from their defaults: a number, or null for unlimited. */
export type LimitValues = Partial<Record<LimitName, number | null>>;

/** The limit in force for a tenant; Infinity when there is none. */
export function limitOf(values: LimitValues | undefined, name: LimitName): number {
  const limit: Limit = LIMITS[name];
  const set = limit.setting || limit.rate ? values?.[name] : undefined;
  return (set === undefined ? limit.value : set) ?? Number.POSITIVE_INFINITY;
}
