import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTransport } from 'nodemailer';
import type { Config } from '../config/index.js';
import { isMailAddress } from './address.js';

export interface Mail {
  /** One address, or several. */
  to: string | readonly string[];
  cc?: readonly string[];
  /** Recipients that the mail does not show. */
  bcc?: readonly string[];
  subject: string;
  text: string;
}

/** Bounds of one mail, in milliseconds: a server that hangs must not hold up whoever sends. */
const TIMEOUTS = { connectionTimeout: 5000, dnsTimeout: 5000, greetingTimeout: 5000, socketTimeout: 10_000 };

/** The content is text that others had a part in: it names no files and no addresses to load. */
const TEXT_ALONE = { disableFileAccess: true, disableUrlAccess: true };

/** Sends e-mails to `SMTP_URL`; without it they are written into the folder `mail` of the data directory. */
export class Mailer {
  constructor(private readonly config: Pick<Config, 'SMTP_URL' | 'ORRERY_MAIL_FROM' | 'ORRERY_DATA_DIR'>) {}

  /**
   * Resolves when the server has taken the mail.
   * @throws Error when one of the recipients is not one address, and when the server cannot be reached or refuses: try again later.
   */
  async send({ to, cc = [], bcc = [], subject, text }: Mail): Promise<void> {
    const recipients = typeof to === 'string' ? [to] : to;
    if (recipients.length === 0 || ![...recipients, ...cc, ...bcc].every(isMailAddress))
      throw new Error('the recipient is not one e-mail address');
    const mail = {
      from: this.config.ORRERY_MAIL_FROM,
      to: [...recipients],
      ...(cc.length === 0 ? {} : { cc: [...cc] }),
      ...(bcc.length === 0 ? {} : { bcc: [...bcc] }),
      subject: subject.replace(/\p{Cc}+/gu, ' '),
      text,
      // Out-of-office messages would answer otherwise (RFC 3834).
      headers: { 'Auto-Submitted': 'auto-generated' },
    };
    const { SMTP_URL: url } = this.config;
    if (url) await createTransport({ url, ...TIMEOUTS, ...TEXT_ALONE }).sendMail(mail);
    else await this.write(mail);
  }

  private async write(mail: object): Promise<void> {
    const transport = createTransport({ streamTransport: true, buffer: true, ...TEXT_ALONE });
    const { message } = await transport.sendMail(mail);
    const folder = join(this.config.ORRERY_DATA_DIR, 'mail');
    // Mails may carry tokens.
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const name = `${new Date().toISOString().replaceAll(':', '-')}-${randomBytes(4).toString('hex')}.eml`;
    await writeFile(join(folder, name), message as Buffer, { mode: 0o600 });
  }
}
