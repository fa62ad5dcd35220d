import { randomBytes, X509Certificate } from 'node:crypto';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { limitOf } from '@orrery/core/limits';
import { type EntityManager, In } from 'typeorm';
import { changing } from '../tenants/changing.js';
import type { CaCertificateCreation } from './ca-certificate.dto.js';
import { CaCertificate } from './ca-certificate.entity.js';

const MAX_PEM_BYTES = 16 << 10;
const ONE_CERTIFICATE = /^\s*-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*$/;

/** The certification authorities of a tenant (manual 6.3.4). */
export class CaCertificatesService {
  constructor(private readonly database: Database) {}

  /** @returns the id. @throws ApiError 400; 403 when the offer allows no more. */
  create(caller: ApiKeyIdentity, { certificate, comment }: CaCertificateCreation): Promise<string> {
    const { tenantId } = caller;
    const expires = checkAuthority(certificate);
    return changing(this.database, tenantId, async (manager) => {
      if ((await manager.countBy(CaCertificate, { tenantId })) >= limitOf(caller.limits, 'caCertificates'))
        throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR');
      const id = randomBytes(12).toString('hex');
      await manager.insert(CaCertificate, { tenantId, id, certificate, comment: comment ?? null, expires });
      return id;
    });
  }

  list(tenantId: string): Promise<CaCertificate[]> {
    return this.database.manager.find(CaCertificate, { where: { tenantId }, order: { created: 'ASC', id: 'ASC' } });
  }

  /** @throws ApiError 404 */
  get(tenantId: string, id: string): Promise<CaCertificate> {
    return find(this.database.manager, tenantId, id);
  }

  /** @throws ApiError 404; 409 that names the API keys which use it: their clients could no longer connect. */
  remove(tenantId: string, id: string): Promise<void> {
    // A certificate does not go while a key begins to use it.
    return changing(this.database, tenantId, async (manager) => {
      await find(manager, tenantId, id);
      const users = (await manager.query('SELECT id FROM api_keys WHERE tenant_id = $1 AND $2 = ANY (ca_cert_ids)', [
        tenantId,
        id,
      ])) as Array<{ id: string }>;
      if (users.length > 0) throw new ApiError('CONFLICT', { apiKeyIds: users.map((key) => key.id) });
      await manager.delete(CaCertificate, { tenantId, id });
    });
  }
}

async function find(manager: EntityManager, tenantId: string, id: string): Promise<CaCertificate> {
  // What is no id is not asked of PostgreSQL, which refuses some characters.
  const certificate = /^[0-9a-f]{24}$/.test(id) ? await manager.findOneBy(CaCertificate, { tenantId, id }) : null;
  if (!certificate) throw new ApiError('NOT_FOUND');
  return certificate;
}

/** Checks that the tenant has all of them. @throws ApiError 400 */
export async function requireCaCertificates(
  manager: EntityManager,
  tenantId: string,
  ids: readonly string[],
): Promise<void> {
  const known = await manager.find(CaCertificate, { select: { id: true }, where: { tenantId, id: In([...ids]) } });
  const unknown = ids.filter((id) => known.every((each) => each.id !== id));
  if (unknown.length > 0)
    throw invalidParameter('clientCert.caCertIds', `ids of CA certificates; there is no ${unknown.join(', ')}`);
}

/** @returns until when the certificate is valid. @throws ApiError 400 for what may not sign clients (manual 6.3.4.1). */
function checkAuthority(pem: string): Date {
  const problem = (expected: string): ApiError => invalidParameter('certificate', expected);
  if (Buffer.byteLength(pem) > MAX_PEM_BYTES) throw problem(`at most ${MAX_PEM_BYTES} bytes`);
  if (!ONE_CERTIFICATE.test(pem))
    throw problem('exactly one certificate in PEM, -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----');
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(pem);
  } catch {
    throw problem('an X.509 certificate in PEM; its content cannot be read');
  }
  // `ca` is false too when there is a key usage without keyCertSign.
  if (!certificate.ca)
    throw problem('a CA certificate: basicConstraints with CA:TRUE, and keyCertSign when there is a keyUsage');
  const expires = new Date(certificate.validTo);
  // Not `<=`: what cannot be read as a date is refused as well.
  if (!(expires.getTime() > Date.now())) throw problem(`a certificate that has not expired (${certificate.validTo})`);
  return expires;
}
