import { randomBytes, randomInt, scrypt, timingSafeEqual } from 'node:crypto';
import { invalidParameter } from '@orrery/core/http';
import { Slots } from './slots.js';

const MIN_LENGTH = 8;
const MAX_LENGTH = 256;

/** What the manual demands of a password (4.2), as users are told. */
export const PASSWORD_RULE =
  `${MIN_LENGTH} to ${MAX_LENGTH} characters with at least one uppercase letter, one lowercase letter, ` +
  'one digit and one special character';

/** The last: what is printed and neither letter, mark, digit nor space. */
const CLASSES = [/\p{Lu}/u, /\p{Ll}/u, /\p{Nd}/u, /[^\p{L}\p{M}\p{N}\p{Z}\p{C}]/u];

/** Memory of one hash is 128 * N * r bytes: 16 MiB, a tenth of a second. Hashes keep their own parameters. */
const COST = { N: 16_384, r: 8, p: 5 };
const MAX_MEMORY = 64 << 20;
const HASH_BYTES = 32;

/** Hashing occupies threads and memory that the rest of the process needs too. */
const slots = new Slots(2, 64);

const fits = (password: string): boolean => {
  // A character has one or two code units.
  if (password.length > 2 * MAX_LENGTH) return false;
  const { length } = [...password];
  return length >= MIN_LENGTH && length <= MAX_LENGTH && CLASSES.every((each) => each.test(password));
};

/** @throws ApiError 400 naming the field when the password breaks {@link PASSWORD_RULE}. */
export function checkPassword(password: string, field = 'password'): void {
  if (!fits(password)) throw invalidParameter(field, PASSWORD_RULE);
}

/** A password of 20 characters that follows the rule, without characters that look alike. */
export function generatePassword(): string {
  const alphabet = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789-_.!';
  for (;;) {
    const password = Array.from({ length: 20 }, () => alphabet[randomInt(alphabet.length)]).join('');
    if (fits(password)) return password;
  }
}

/** @returns `scrypt$N$r$p$salt$hash`. @throws ApiError SERVICE_UNAVAILABLE when too many passwords are being hashed. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const { N, r, p } = COST;
  const hash = await derive(password, salt, N, r, p);
  return ['scrypt', N, r, p, salt.toString('base64url'), hash.toString('base64url')].join('$');
}

/** Compared with when there is no password, so that this takes as long and says nothing. */
const NO_PASSWORD = ['scrypt', COST.N, COST.r, COST.p, randomBytes(16).toString('base64url'), ''].join('$');

/**
 * @param hash null or undefined when there is no such user, or it has no password.
 * @throws ApiError SERVICE_UNAVAILABLE when too many passwords are being hashed.
 */
export async function verifyPassword(password: string, hash: string | null | undefined): Promise<boolean> {
  const [scheme, N, r, p, salt = '', expected = ''] = (hash ?? NO_PASSWORD).split('$');
  if (scheme !== 'scrypt') throw new Error(`a password is hashed in an unknown way: ${scheme}`);
  const actual = await derive(password, Buffer.from(salt, 'base64url'), Number(N), Number(r), Number(p));
  const known = Buffer.from(expected, 'base64url');
  return known.length === actual.length && timingSafeEqual(known, actual);
}

const derive = (password: string, salt: Buffer, N: number, r: number, p: number): Promise<Buffer> =>
  slots.run(
    () =>
      new Promise((resolve, reject) =>
        // Keyboards differ in how they compose the same letter.
        scrypt(password.normalize('NFC'), salt, HASH_BYTES, { N, r, p, maxmem: MAX_MEMORY }, (error, key) =>
          error ? reject(error) : resolve(key),
        ),
      ),
  );
