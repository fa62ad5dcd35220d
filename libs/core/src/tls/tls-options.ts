import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import type { SecureContext, TlsOptions, TLSSocket } from 'node:tls';
import type { Config } from '../config/index.js';
import { serverCertificate } from './server-certificate.js';

/** Cipher suites of manual 6.2, TLS 1.3 first. */
const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES128-SHA',
  'ECDHE-RSA-AES256-SHA',
  'AES128-GCM-SHA256',
  'AES128-SHA',
  'AES256-SHA',
].join(':');

/** A TLS record: fatal alert unrecognized_name (RFC 6066, 3). */
const UNRECOGNIZED_NAME = Buffer.from('15030300020270', 'hex');

/**
 * How every TLS server of the platform is set up (manual 6.2). A handshake that names a host which is not one of the
 * platform's is refused; one that names none gets the certificate.
 * @throws Error that names the file or variable that is missing.
 */
export async function tlsOptions(config: Config): Promise<TlsOptions> {
  const names = hostNames(config.ORRERY_HOST_NAMES);
  const deviceHost = hostNames(config.ORRERY_MQTT_DEVICE_HOST);
  const { cert, key } = await serverCertificate(config, [...names, ...deviceHost]);
  const certificate = new X509Certificate(cert);
  const isOurs = (name: string): boolean =>
    deviceHost.includes(name) || (names.length > 0 ? names.includes(name) : certificate.checkHost(name) !== undefined);
  return {
    cert,
    key,
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    honorCipherOrder: true,
    handshakeTimeout: 10_000,
    SNICallback(
      this: TLSSocket & { _parent?: Socket },
      name,
      done: (error: Error | null, context?: SecureContext) => void,
    ) {
      if (isOurs(name.toLowerCase())) {
        done(null);
        return;
      }
      const refuse = (): void => done(new Error(`unrecognized host name ${name}`));
      // Node closes without an alert. Nothing is encrypted yet: it is written to the socket below.
      if (this._parent) this._parent.end(UNRECOGNIZED_NAME, refuse);
      else refuse();
    },
  };
}

const hostNames = (list = ''): string[] =>
  list
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '');
