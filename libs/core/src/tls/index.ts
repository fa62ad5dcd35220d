export { makeDevelopmentCertificates } from './development-certificates.js';
export { tlsOptions } from './tls-options.js';
