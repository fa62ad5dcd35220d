export { isMailAddress, MAX_ADDRESS_LENGTH } from './address.js';
