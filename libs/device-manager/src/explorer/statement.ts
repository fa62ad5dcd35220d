/** Values of one SQL statement: `$1` is the tenant. */
export class Statement {
  readonly values: unknown[];

  constructor(readonly tenantId: string) {
    this.values = [tenantId];
  }

  /** Adds a value and returns its placeholder. */
  readonly bind = (value: unknown): string => `$${this.values.push(value)}`;
}

/** Devices `d` with what the conditions need beside them. @param expressions SQL that is used with them */
export const devicesWith = (...expressions: string[]): string => {
  const used = expressions.join(' ');
  const states = 'JOIN device_states s ON s.tenant_id = d.tenant_id AND s.device_id = d.id';
  const groups = 'JOIN groups g ON g.tenant_id = d.tenant_id AND g.id = d.group_id';
  return `devices d ${/\bs\./.test(used) ? states : ''} ${/\bg\./.test(used) ? groups : ''}`;
};
