import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, isSecretKey } from '../config/index.js';

/** What a secret belongs to. One that was sealed for another owner cannot be opened for this one. */
export interface SecretOwner {
  tenantId: string;
  /** Kind of secret, such as `interface:lora`. */
  purpose: string;
}

const CIPHER = 'aes-256-gcm';

/** Keeps secrets that must be readable again, encrypted with `ORRERY_SECRET_KEY`. What need not be read is hashed instead. */
export class Secrets {
  private readonly key: Buffer;
  /** Names the key without telling it. */
  private readonly keyId: string;

  /**
   * Without `ORRERY_SECRET_KEY` the key is the one in `secret.key` of the data directory, made at the first start.
   * @throws Error when that file cannot be read or written, or holds no key
   */
  constructor(config: Pick<Config, 'ORRERY_SECRET_KEY' | 'ORRERY_DATA_DIR'>) {
    this.key = Buffer.from(config.ORRERY_SECRET_KEY ?? keyOfFolder(config.ORRERY_DATA_DIR), 'base64');
    this.keyId = createHash('sha256').update(this.key).digest('hex').slice(0, 8);
  }

  /** Text that can be stored: format, key id, nonce, tag and ciphertext, separated by dots. */
  seal(owner: SecretOwner, secret: string): string {
    const nonce = randomBytes(12);
    const cipher = createCipheriv(CIPHER, this.key, nonce).setAAD(associated(owner));
    const sealed = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
    return ['1', this.keyId, ...[nonce, cipher.getAuthTag(), sealed].map((part) => part.toString('base64url'))].join(
      '.',
    );
  }

  /** @throws Error when it was sealed with another key or for another owner, or has been changed */
  open(owner: SecretOwner, sealed: string): string {
    const [format, keyId, nonce, tag, text] = sealed.split('.');
    if (format !== '1' || !nonce || !tag || text === undefined) throw new Error('this is no sealed secret');
    if (keyId !== this.keyId)
      throw new Error(
        `a secret was sealed with the key ${keyId}, and ORRERY_SECRET_KEY is the key ${this.keyId}: all services need the one that it was sealed with`,
      );
    const decipher = createDecipheriv(CIPHER, this.key, Buffer.from(nonce, 'base64url'), { authTagLength: 16 })
      .setAAD(associated(owner))
      .setAuthTag(Buffer.from(tag, 'base64url'));
    return Buffer.concat([decipher.update(Buffer.from(text, 'base64url')), decipher.final()]).toString('utf8');
  }
}

const associated = ({ tenantId, purpose }: SecretOwner): Buffer => Buffer.from(JSON.stringify([tenantId, purpose]));

function keyOfFolder(folder: string): string {
  const file = join(folder, 'secret.key');
  const key = read(file) ?? make(folder, file);
  if (!isSecretKey(key)) throw new Error(`${file} holds no key: expected 32 bytes in base64`);
  return key;
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`cannot read ${file}, which holds the key of stored secrets`, { cause: error });
  }
}

// Several processes may start at once: the file appears complete, by a link, and the first one wins.
function make(folder: string, file: string): string {
  mkdirSync(folder, { recursive: true });
  const draft = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    writeFileSync(draft, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600, flush: true });
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
      throw new Error(`cannot write ${file}: set ORRERY_SECRET_KEY, or make the folder writable`, { cause: error });
  } finally {
    rmSync(draft, { force: true });
  }
  return read(file)!;
}
