/** Values of one SQL statement: `$1` is the tenant. */
export class Statement {
  readonly values: unknown[];

  constructor(readonly tenantId: string) {
    this.values = [tenantId];
  }

  /** Adds a value and returns its placeholder. */
  readonly bind = (value: unknown): string => `$${this.values.push(value)}`;
}

const uses = (alias: string, expressions: string[]): boolean =>
  new RegExp(`\\b${alias}\\.`).test(expressions.join(' '));

/** Devices `d`, with their states `s` where these are used. @param expressions SQL that is used with them */
export const devicesAndStates = (...expressions: string[]): string =>
  uses('s', expressions)
    ? 'devices d JOIN device_states s ON s.tenant_id = d.tenant_id AND s.device_id = d.id'
    : 'devices d';

/** The same with their groups `g`. */
export const devicesWith = (...expressions: string[]): string =>
  uses('g', expressions)
    ? `${devicesAndStates(...expressions)} JOIN groups g ON g.tenant_id = d.tenant_id AND g.id = d.group_id`
    : devicesAndStates(...expressions);
