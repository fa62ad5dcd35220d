import 'reflect-metadata';
import { X509Certificate } from 'node:crypto';
import { BasicConstraintsExtension, X509Certificate as ParsedCertificate } from '@peculiar/x509';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { type Bus, callRpc, VersionedCache } from '@orrery/core/bus';
import { findCaCertificate } from '@orrery/identity/contract';

const CACHED_AUTHORITIES = 10_000;

/** What a client has proved by the certificate of its TLS handshake. */
export interface Proof {
  /** It has presented a certificate. */
  readonly presented: boolean;
  /** The CA certificate that vouches for it, once it is checked. */
  authorityId?: string;
}

/** Checks client certificates against the CA certificates of their API key (manual 6.3.4). */
export class ClientCertificates {
  // A certificate of an id never changes: nothing has to be forgotten.
  private readonly authorities: VersionedCache<X509Certificate>;

  constructor(bus: Bus) {
    this.authorities = new VersionedCache(async (key) => {
      const [tenantId, id] = key.split('\n') as [string, string];
      const { certificate } = await callRpc(bus, findCaCertificate, { tenantId, id });
      return new X509Certificate(certificate);
    }, CACHED_AUTHORITIES);
  }

  /**
   * Finds out who vouches for the certificate.
   * @param owned whether the common name is the client's; any is when absent.
   * @returns what is wrong, for the audit log.
   * @throws RpcUnavailableError
   */
  async check(
    certificate: X509Certificate | undefined,
    proof: Proof,
    { tenantId, clientCert }: ApiKeyIdentity,
    owned?: (commonName: string) => Promise<boolean>,
  ): Promise<string | undefined> {
    if (!certificate) return clientCert?.required ? 'the API key needs a client certificate' : undefined;
    if (!clientCert) return undefined;
    const subject = readSubject(certificate);
    if (!subject) return 'the client certificate cannot be read';
    if (subject.isAuthority) return 'the client certificate is a CA certificate';
    if (!inForce(certificate))
      return `the client certificate is valid from ${certificate.validFrom} to ${certificate.validTo}`;
    for (const id of clientCert.caCertIds) {
      const authority = await this.authorities.get(`${tenantId}\n${id}`);
      if (!inForce(authority) || !signed(authority, certificate)) continue;
      const [name = '', ...others] = subject.commonNames;
      if (owned && (others.length > 0 || !(await owned(name))))
        return `the common name "${subject.commonNames.join(', ').slice(0, 256)}" of the client certificate is neither the client id nor the URN of the device`;
      proof.authorityId = id;
      return undefined;
    }
    return 'the client certificate is not signed by a CA certificate of the API key that is in force';
  }
}

/** Whether a client that has passed the check would pass it with this state of its key too. */
export const suffices = ({ presented, authorityId }: Proof, { clientCert }: ApiKeyIdentity): boolean =>
  !clientCert ||
  (presented ? authorityId !== undefined && clientCert.caCertIds.includes(authorityId) : !clientCert.required);

// Clients may present anything: what cannot be read is no certificate.
function readSubject({ raw }: X509Certificate): { commonNames: string[]; isAuthority: boolean } | undefined {
  try {
    const parsed = new ParsedCertificate(raw);
    return {
      commonNames: parsed.subjectName.getField('CN'),
      isAuthority: parsed.getExtension(BasicConstraintsExtension)?.ca === true,
    };
  } catch {
    return undefined;
  }
}

function signed(authority: X509Certificate, certificate: X509Certificate): boolean {
  try {
    return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
  } catch {
    return false;
  }
}

// False too when a date cannot be read.
const inForce = ({ validFrom, validTo }: X509Certificate): boolean =>
  Date.parse(validFrom) <= Date.now() && Date.now() <= Date.parse(validTo);
