import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { access, chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import {
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type GeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  AuthorityKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

const ALGORITHM = {
  name: 'RSASSA-PKCS1-v1_5',
  hash: 'SHA-256',
  modulusLength: 2048,
  publicExponent: new Uint8Array([1, 0, 1]),
};
const YEAR_MS = 365 * 24 * 3600 * 1000;

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/**
 * Makes `ca.pem`, `ca.key`, `server.pem` and `server.key` in this folder unless they are there. Several processes may
 * start at once: the folder appears complete, by a rename, and the first one wins.
 * @param hostNames what the server is called besides localhost and the name of this machine.
 */
export async function makeDevelopmentCertificates(folder: string, hostNames: readonly string[] = []): Promise<void> {
  if (await exists(join(folder, 'server.pem'))) return;
  await mkdir(dirname(folder), { recursive: true });
  const draft = await mkdtemp(`${folder}.draft-`);
  try {
    await write(draft, hostNames);
    // Clients need ca.pem; the keys are readable by their owner alone.
    await chmod(draft, 0o755);
    await rename(draft, folder);
  } catch (error) {
    if (!(await exists(join(folder, 'server.pem')))) throw error;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

async function write(folder: string, hostNames: readonly string[]): Promise<void> {
  cryptoProvider.set(webcrypto);
  const notBefore = new Date(Date.now() - 24 * 3600 * 1000);
  const notAfter = new Date(Date.now() + 10 * YEAR_MS);
  const caKeys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const ca = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=Orrery development CA',
    notBefore,
    notAfter,
    keys: caKeys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  });
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const names: Array<{ type: GeneralName['type']; value: string }> = [
    ...[...new Set(['localhost', hostname(), ...hostNames])].map((value) => ({ type: 'dns' as const, value })),
    { type: 'ip', value: '127.0.0.1' },
    { type: 'ip', value: '::1' },
  ];
  const server = await X509CertificateGenerator.create({
    subject: 'CN=localhost',
    issuer: ca.subject,
    notBefore,
    notAfter,
    publicKey: keys.publicKey,
    signingKey: caKeys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      // Key encipherment is for the suites of manual 6.2 without a key exchange of their own.
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(names),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  });
  await writeFile(join(folder, 'ca.pem'), `${ca.toString('pem')}\n`);
  await writeFile(join(folder, 'ca.key'), await privatePem(caKeys.privateKey), { mode: 0o600 });
  await writeFile(join(folder, 'server.pem'), `${server.toString('pem')}\n`);
  await writeFile(join(folder, 'server.key'), await privatePem(keys.privateKey), { mode: 0o600 });
}

async function privatePem(key: webcrypto.CryptoKey): Promise<string> {
  const base64 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${base64.replace(/.{64}(?=.)/g, '$&\n')}\n-----END PRIVATE KEY-----\n`;
}
