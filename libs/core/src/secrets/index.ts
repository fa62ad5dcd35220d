export { Secrets, type SecretOwner } from './secrets.js';
