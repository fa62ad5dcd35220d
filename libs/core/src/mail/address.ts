import { isEmail } from 'class-validator';

/** RFC 5321 allows 256 octets with the brackets around an address. */
export const MAX_ADDRESS_LENGTH = 254;

/** Printable ASCII without quoted parts: an address ends up in a header and in SMTP commands. */
const PLAIN = /^[!-~]+$/;

/** True for one e-mail address, without display name. */
export const isMailAddress = (value: unknown): value is string =>
  typeof value === 'string' &&
  value.length <= MAX_ADDRESS_LENGTH &&
  PLAIN.test(value) &&
  !value.includes('"') &&
  isEmail(value, { allow_utf8_local_part: false });
