export { isMailAddress, MAX_ADDRESS_LENGTH } from './address.js';
export { type Mail, Mailer } from './mailer.js';
