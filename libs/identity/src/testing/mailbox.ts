import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { eventually } from '@orrery/core/testing';

export interface ReceivedMail {
  /** Recipients of the envelope. */
  to: string[];
  /** With headers, as it was sent. */
  source: string;
}

/** A mail server that keeps what it gets. */
export interface Mailbox {
  /** For `SMTP_URL`. */
  url: string;
  mails: ReceivedMail[];
  /** While true, mails are refused for the moment. */
  refusing: boolean;
  /** Mails that were refused. */
  refused: number;
  /** Waits for the mail number `count` to this address and returns the token in it. */
  token(address: string, count?: number): Promise<string>;
  close(): Promise<void>;
}

export async function startMailbox(): Promise<Mailbox> {
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['AUTH', 'STARTTLS'],
    onData(stream, session, done) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        if (mailbox.refusing) {
          mailbox.refused++;
          done(Object.assign(new Error('try again later'), { responseCode: 451 }));
          return;
        }
        const to = session.envelope.rcptTo.map(({ address }) => address);
        mailbox.mails.push({ to, source: Buffer.concat(chunks).toString() });
        done();
      });
    },
  });
  server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  const mailbox: Mailbox = {
    url: `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}`,
    mails: [],
    refusing: false,
    refused: 0,
    async token(address, count = 1) {
      const mail = await eventually(() => mailbox.mails.filter(({ to }) => to.includes(address))[count - 1]);
      const token = /"tokenId": "([\w-]+)"/.exec(mail.source)?.[1];
      if (!token) throw new Error(`a mail without token: ${mail.source}`);
      return token;
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
  return mailbox;
}
