import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../config/index.js';
import { makeDevelopmentCertificates } from './development-certificates.js';

/**
 * The certificate that the platform shows, as PEM. Without `ORRERY_TLS_CERT` it is one of a development CA, which is
 * made in `tls/` of the data directory at the first start.
 * @param hostNames what a development certificate is made for besides this machine.
 * @throws Error that names the file or variable that is missing.
 */
export async function serverCertificate(
  config: Config,
  hostNames: readonly string[],
): Promise<{ cert: Buffer; key: Buffer }> {
  const { ORRERY_TLS_CERT: certFile, ORRERY_TLS_KEY: keyFile } = config;
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new Error('ORRERY_TLS_CERT and ORRERY_TLS_KEY belong together: set both or neither');
  if (certFile !== undefined && keyFile !== undefined)
    return {
      cert: await read(certFile, 'ORRERY_TLS_CERT'),
      key: await read(keyFile, 'ORRERY_TLS_KEY'),
    };
  const folder = join(config.ORRERY_DATA_DIR, 'tls');
  await makeDevelopmentCertificates(folder, hostNames);
  const remedy = `delete the folder ${folder} to have new certificates made`;
  return { cert: await read(join(folder, 'server.pem'), remedy), key: await read(join(folder, 'server.key'), remedy) };
}

async function read(file: string, hint: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new Error(`cannot read the TLS file ${file} (${hint})`, { cause: error });
  }
}
