import ipaddr from 'ipaddr.js';

// Public by their number, and answered by the host of a virtual machine all the same: Azure's metadata.
const METADATA = new Set(['168.63.129.16']);

/**
 * Whether tenants may have the platform call this address: a public one of IPv4, in four decimal parts. IPv6 is not
 * called at all (manual 14.3.2.7), which leaves out everything that maps or tunnels IPv4 into it.
 */
export const isAllowedAddress = (address: string): boolean =>
  ipaddr.IPv4.isValidFourPartDecimal(address) &&
  ipaddr.IPv4.parse(address).range() === 'unicast' &&
  !METADATA.has(address);

/** What the operator lets tenants call although it is private, plain HTTP or on another port. */
export class AllowList {
  private readonly entries: ReadonlyArray<{
    /** Undefined for any port. */
    port: number | undefined;
    host?: string;
    range?: [ipaddr.IPv4, number];
  }>;

  /** @param text as in ORRERY_WEBHOOK_ALLOW. @throws Error that names the variable and the entry that is wrong. */
  constructor(text: string) {
    this.entries = text
      .split(',')
      .map((entry) => entry.trim())
      .filter((entry) => entry !== '')
      .map((entry) => {
        const [, target = '', port = ''] = /^(.*):(\*|\d{1,5})$/.exec(entry) ?? [];
        const range = ipaddr.IPv4.isValidCIDRFourPartDecimal(target);
        if (
          !(range || /^[a-z\d]([\w.-]*[a-z\d])?$/i.test(target)) ||
          (port !== '*' && !(Number(port) >= 1 && Number(port) <= 65_535))
        )
          throw new Error(
            `ORRERY_WEBHOOK_ALLOW: "${entry}" is not usable; expected host:port or cidr:port of IPv4, with * for any port`,
          );
        return {
          port: port === '*' ? undefined : Number(port),
          ...(range ? { range: ipaddr.IPv4.parseCIDR(target) } : { host: target.toLowerCase() }),
        };
      });
  }

  /** Whether the host may be called at this address and port. */
  allows(host: string, address: string, port: number): boolean {
    return this.entries.some(
      (entry) =>
        (entry.port ?? port) === port &&
        (entry.range
          ? ipaddr.IPv4.isValidFourPartDecimal(address) && ipaddr.IPv4.parse(address).match(entry.range)
          : entry.host === host),
    );
  }

  /** Whether it names the host: its addresses are then those that the operator's machine knows. */
  names(host: string): boolean {
    return this.entries.some((entry) => entry.host === host);
  }

  /** Whether the host, whose addresses are not known yet, may turn out to be allowed. */
  mayAllow(host: string, port: number): boolean {
    return this.entries.some(
      (entry) => (entry.port ?? port) === port && (entry.range !== undefined || entry.host === host),
    );
  }
}
