// Topics of a device that logs in with an access key: `v1/device/DEVICE_ID/` and one of these. Files and dumps are not
// exposed over MQTT.

/** What a device publishes on. */
export const PUBLISHED = [
  'telemetry',
  'get',
  'update',
  'cloud_settings/update',
  'license/update',
  'config/update',
  'commands/update',
] as const;
export type Published = (typeof PUBLISHED)[number];

/** What a device subscribes to. */
export const SUBSCRIBED = ['config', 'commands', 'license', 'space_info', 'firmware'] as const;
export type Subscribed = (typeof SUBSCRIBED)[number];

export const deviceTopic = (deviceId: string, name: string): string => `v1/device/${deviceId}/${name}`;

/** The name of the device's own topic; undefined for anything else. */
export function ownTopic<Name extends string>(
  deviceId: string,
  topic: string,
  names: readonly Name[],
): Name | undefined {
  const start = deviceTopic(deviceId, '');
  if (!topic.startsWith(start)) return undefined;
  const name = topic.slice(start.length);
  return names.find((each) => each === name);
}
