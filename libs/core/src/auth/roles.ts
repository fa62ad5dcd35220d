/** The roles that can be granted (manual 4.4). */
export const ROLES = [
  'API_KEY_R',
  'API_KEY_W',
  'USER_R',
  'USER_W',
  'SETTINGS_R',
  'SETTINGS_W',
  'DEVICE_R',
  'DEVICE_W',
  'CAMPAIGN_R',
  'CAMPAIGN_W',
  'DATA_R',
  'DATA_W',
  'DATA_PROCESSING_R',
  'DATA_PROCESSING_W',
  'BUS_CONFIG_R',
  'BUS_CONFIG_W',
  'BUS_R',
  'BUS_W',
  'DEVICE_ACCESS',
  'CONNECTOR_ACCESS',
  'LOGS_R',
] as const;

/** Sets of roles that users are given (manual 4.4): the User profile changes nothing but keys and settings. */
export const PROFILES = {
  ADMIN: ROLES,
  USER: ROLES.filter(
    (role) => !['USER_W', 'DEVICE_W', 'CAMPAIGN_W', 'DATA_W', 'DATA_PROCESSING_W', 'BUS_CONFIG_W'].includes(role),
  ),
} as const satisfies Record<string, readonly Role[]>;

export type Role = (typeof ROLES)[number];
