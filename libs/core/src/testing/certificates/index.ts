import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  cryptoProvider,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

export { KeyUsageFlags };

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const HOUR_MS = 3_600_000;

export interface CertificateOptions {
  /** Value of CA in basicConstraints; without that extension when null. */
  ca?: boolean | null;
  /** Without that extension when absent. */
  keyUsage?: KeyUsageFlags;
  notBefore?: Date;
  notAfter?: Date;
}

/** What a TLS client presents, as PEM. */
export interface ClientCertificate {
  cert: string;
  key: string;
}

export interface CertificateAuthority {
  /** Its own certificate. */
  pem: string;
  /** Signs a certificate for this subject, such as `CN=device`; an end entity's unless told otherwise. */
  issue(subject: string, options?: CertificateOptions): Promise<ClientCertificate>;
}

/** Makes a certification authority, valid for an hour, and its certificates, for tests. */
export async function certificateAuthority(
  subject: string,
  options: CertificateOptions = {},
): Promise<CertificateAuthority> {
  cryptoProvider.set(webcrypto);
  const own = await generateKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: subject,
    keys: own,
    ...contents({ ca: true, ...options }),
  });
  return {
    pem: certificate.toString('pem'),
    async issue(subject, options = {}) {
      const keys = await generateKeys();
      const issued = await X509CertificateGenerator.create({
        subject,
        issuer: certificate.subject,
        publicKey: keys.publicKey,
        signingKey: own.privateKey,
        ...contents(options),
      });
      return { cert: issued.toString('pem'), key: await privatePem(keys.privateKey) };
    },
  };
}

const generateKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);

function contents({ ca, keyUsage, notBefore, notAfter }: CertificateOptions): {
  signingAlgorithm: typeof ALGORITHM;
  notBefore: Date;
  notAfter: Date;
  extensions: Extension[];
} {
  return {
    signingAlgorithm: ALGORITHM,
    notBefore: notBefore ?? new Date(Date.now() - HOUR_MS),
    notAfter: notAfter ?? new Date(Date.now() + HOUR_MS),
    extensions: [
      ...(ca === null || ca === undefined ? [] : [new BasicConstraintsExtension(ca, undefined, true)]),
      ...(keyUsage === undefined ? [] : [new KeyUsagesExtension(keyUsage, true)]),
    ],
  };
}

async function privatePem(key: webcrypto.CryptoKey): Promise<string> {
  const base64 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${base64.replace(/.{64}(?=.)/g, '$&\n')}\n-----END PRIVATE KEY-----\n`;
}
