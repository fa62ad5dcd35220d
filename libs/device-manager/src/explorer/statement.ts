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

const JOINS = {
  s: 'JOIN device_states s ON s.tenant_id = d.tenant_id AND s.device_id = d.id',
  n: 'JOIN device_interfaces n ON n.tenant_id = d.tenant_id AND n.device_id = d.id',
};

/**
 * Devices `d`, with their states `s` and what their interfaces amount to `n`, where these are used.
 * @param expressions SQL that is used with them
 */
export const devicesAndStates = (...expressions: string[]): string =>
  ['devices d', ...Object.entries(JOINS).map(([alias, join]) => (uses(alias, expressions) ? join : ''))]
    .filter((each) => each !== '')
    .join(' ');

/** The same with their groups `g`. */
export const devicesWith = (...expressions: string[]): string =>
  uses('g', expressions)
    ? `${devicesAndStates(...expressions)} JOIN groups g ON g.tenant_id = d.tenant_id AND g.id = d.group_id`
    : devicesAndStates(...expressions);
