import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SMTPServer } from 'smtp-server';
import { isMailAddress, Mailer } from './index.js';

const INJECTIONS = [
  'a@x.io\r\nBcc: b@x.io',
  'a@x.io\nb@x.io',
  'a@x.io,b@x.io',
  'a@x.io b@x.io',
  'A <a@x.io>',
  '<a@x.io>',
  '"a\r\nRCPT TO:<b@x.io>"@x.io',
  'a@x.io\u0000',
  'group: a@x.io;',
  '',
];

describe('addresses', () => {
  it('are one plain address', () => {
    for (const address of ['a@x.io', "first.o'last+tag@sub.example.com", `${'x'.repeat(64)}@example.com`])
      expect([address, isMailAddress(address)]).toEqual([address, true]);
    for (const address of [
      ...INJECTIONS,
      'a',
      'a@',
      '@x.io',
      `${'x'.repeat(250)}@x.io`,
      7,
      null,
      undefined,
      ['a@x.io'],
    ])
      expect([address, isMailAddress(address)]).toEqual([address, false]);
  });
});

describe('sending mails', () => {
  const received: Array<{ from: string; to: string[]; source: string }> = [];
  let server: SMTPServer;
  let url: string;
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'orrery-mail-'));
    server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['AUTH', 'STARTTLS'],
      onRcptTo({ address }, _session, done) {
        done(address.startsWith('unknown') ? Object.assign(new Error('no such user'), { responseCode: 550 }) : null);
      },
      onData(stream, { envelope }, done) {
        const chunks: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () => {
          received.push({
            from: envelope.mailFrom ? envelope.mailFrom.address : '',
            to: envelope.rcptTo.map(({ address }) => address),
            source: Buffer.concat(chunks).toString(),
          });
          done();
        });
      },
    });
    server.listen(0, '127.0.0.1');
    await once(server.server, 'listening');
    url = `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    await new Promise<void>((resolve) => server.close(() => resolve()));
    await rm(folder, { recursive: true });
  });
  const mailer = (smtpUrl?: string): Mailer =>
    new Mailer({
      ...(smtpUrl === undefined ? {} : { SMTP_URL: smtpUrl }),
      ORRERY_MAIL_FROM: 'Orrery <orrery@example.com>',
      ORRERY_DATA_DIR: folder,
    });

  it('hands the mail to the server, whose answer counts', async () => {
    await mailer(url).send({ to: 'a@example.com', subject: 'Élan', text: 'first\n.\nlast: ümlaut 🚀\n' });
    expect(received).toHaveLength(1);
    expect(received[0]).toMatchObject({ from: 'orrery@example.com', to: ['a@example.com'] });
    expect(received[0]!.source).toMatch(/^From: Orrery <orrery@example.com>\r$/m);
    expect(received[0]!.source).toMatch(/^Subject: =\?UTF-8\?/m);
    expect(received[0]!.source).toMatch(/^Auto-Submitted: auto-generated\r$/m);
    await expect(mailer(url).send({ to: 'unknown@example.com', subject: 's', text: 't' })).rejects.toThrow(
      /no such user/,
    );
    expect(received).toHaveLength(1);
  });

  it('sends to nobody else, whatever the recipient and the subject hold', async () => {
    received.length = 0;
    for (const to of INJECTIONS)
      await expect(mailer(url).send({ to, subject: 's', text: 't' })).rejects.toThrow(/one e-mail address/);
    expect(received).toHaveLength(0);
    await mailer(url).send({ to: 'a@example.com', subject: 'x\r\nBcc: b@example.com\r\n\r\nbody', text: 't' });
    expect(received[0]!.to).toEqual(['a@example.com']);
    expect(received[0]!.source).not.toMatch(/^Bcc:/m);
  });

  it('fails when there is no server, or one that says nothing', async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const mail = { to: 'a@example.com', subject: 's', text: 't' };
    await expect(mailer(`smtp://127.0.0.1:${port}`).send(mail)).rejects.toThrow();
    silent.close();
    await expect(mailer(`smtp://127.0.0.1:${port}`).send(mail)).rejects.toThrow();
  });

  it('writes mails into files, for their owner alone, when no server is set', async () => {
    await mailer().send({ to: 'a@example.com', subject: 'Hello', text: 'the text\n' });
    const [file] = await readdir(join(folder, 'mail'));
    const path = join(folder, 'mail', file!);
    expect(file).toMatch(/\.eml$/);
    expect((await stat(path)).mode & 0o077).toBe(0);
    const source = await readFile(path, 'utf8');
    expect(source).toMatch(/^To: a@example.com\r?$/m);
    expect(source).toContain('the text');
  });
});
