import { callRpc } from '@orrery/core/bus';
import { apiClient, eventually } from '@orrery/core/testing';
import { SMTPServer } from 'smtp-server';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { smsSent, takeSms } from '../contract.js';
import { routing } from '../index.js';
import { type Routed, type RoutedTenant, settled, startRouted } from '../testing/routed.js';
import { startWebhook, type Webhook } from '../testing/webhook.js';

interface Sms {
  actionPolicyId: string;
  destinationPhoneNumber: string;
  content: string;
}

const SMS = '/api/v1/event2action/sms';

let routed: Routed;
let tenant: RoutedTenant;
let server: SMTPServer;
/** What the mail server says to each mail; nothing when it takes it. */
let refusal: { responseCode: number; message: string } | undefined;
const mails: Array<{ to: string[]; source: string }> = [];

beforeAll(async () => {
  server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['AUTH', 'STARTTLS'],
    onData(stream, { envelope }, done) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        if (refusal) return done(Object.assign(new Error(refusal.message), refusal));
        const source = Buffer.concat(chunks).toString();
        mails.push({ to: envelope.rcptTo.map(({ address }) => address), source });
        done();
      });
    },
  });
  server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  routed = await startRouted({ SMTP_URL: `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}` });
});
afterAll(async () => {
  await routed.stop();
  await new Promise<void>((resolve) => server.close(() => resolve()));
});
beforeEach(() => {
  mails.length = 0;
  refusal = undefined;
  tenant = routed.tenant();
});

const email = (more: object = {}): object => ({
  emails: [{ to: ['to@orange.com'], contentTemplate: '{{streamId}}: {{value.temp}}', ...more }],
});
const received = (count: number): Promise<typeof mails> => eventually(() => mails.length >= count && mails);
const subjectOf = (source: string): string => /^Subject: (.*)\r$/m.exec(source)![1]!;
const textOf = (source: string): string => source.slice(source.indexOf('\r\n\r\n') + 4).trim();
const waitingSms = (count: number, api = tenant.api): Promise<Sms[]> =>
  eventually(async () => {
    const { body } = await api.get<Sms[]>(SMS);
    return body.length >= count && body;
  });
const nextDay = (): Promise<unknown> =>
  routed.backend.query('UPDATE routing.emissions SET day = day - 1 WHERE tenant_id = $1', [tenant.id]);

const STATE_CHANGE = {
  stateKey: 's1',
  previousState: 'normal',
  newState: 'hot',
  timestamp: '2026-09-02T14:08:04.337Z',
  stateProcessingRuleId: 'rule',
};
// Only what is newer than the policy is routed.
const stateChange = (): Promise<void> => tenant.event('stateChange', { ...STATE_CHANGE, timestamp: future() });
const future = (): string => new Date(Date.now() + 60_000).toISOString();

describe('e-mails', () => {
  it('NTF-001 go to all recipients, with subject and text of their templates', async () => {
    await tenant.route(
      {
        emails: [
          {
            to: ['notification@orange.com', 'second@orange.com'],
            cc: ['cc@orange.com'],
            cci: ['cci@orange.com'],
            subjectTemplate: 'State change for {{stateKey}}',
            contentTemplate: '{{stateKey}} change from state {{previousState}} to state {{newState}} at {{timestamp}}',
          },
        ],
      },
      { stateChange: { version: 1 } },
    );
    await stateChange();
    const [mail] = await received(1);
    await settled(routed, tenant);
    expect(mails).toHaveLength(1);
    expect(mail!.to.toSorted()).toEqual([
      'cc@orange.com',
      'cci@orange.com',
      'notification@orange.com',
      'second@orange.com',
    ]);
    const headers = mail!.source.slice(0, mail!.source.indexOf('\r\n\r\n'));
    expect(headers).toMatch(/^To: notification@orange\.com, second@orange\.com\r$/m);
    expect(headers).toMatch(/^Cc: cc@orange\.com\r$/m);
    expect(mail!.source).not.toContain('cci@orange.com');
    expect(subjectOf(mail!.source)).toBe('State change for s1');
    expect(textOf(mail!.source).replace(/=\r\n/g, '')).toMatch(
      /^s1 change from state normal to state hot at 20[\d-]+T/,
    );
  });

  it('NTF-010 are for data messages too, with a subject of their own', async () => {
    await tenant.route(email());
    await tenant.data('s1', { temp: 20 });
    const [mail] = await received(1);
    expect([textOf(mail!.source), subjectOf(mail!.source)]).toEqual(['s1: 20', 'Notification: dataMessage']);
  });

  it('hold nothing that a message could put into their headers', async () => {
    await tenant.route(email({ subjectTemplate: '{{value.subject}}', contentTemplate: '{{value.text}}' }));
    await tenant.data('s1', { subject: 'a\r\nBcc: b@x.io\r\n\r\nbody', text: '.\r\nRCPT TO:<c@x.io>' });
    const [mail] = await received(1);
    expect(mail!.to).toEqual(['to@orange.com']);
    expect(mail!.source).not.toMatch(/^Bcc:/m);
  });

  it('NTF-011 LIM-022 are sent up to the limit of the day, which the audit log tells once', async () => {
    tenant = routed.tenant({ emailsPerDay: 2 });
    await tenant.route(email());
    for (let i = 0; i < 5; i++) await tenant.data('s1', { temp: i });
    await settled(routed, tenant);
    expect(mails).toHaveLength(2);
    const [entry] = await eventually(() => tenant.audited('email').length === 1 && tenant.audited('email'));
    expect(entry).toMatchObject({ level: 'error', category: 'notification', type: 'email_limit_reached' });
    await nextDay();
    await tenant.data('s1', { temp: 9 });
    await received(3);
    await settled(routed, tenant);
    expect([mails.length, tenant.audited('email').length]).toEqual([3, 1]);
  });

  it('count exactly over two instances, up to the 1000 of the manual', async () => {
    const second = await routed.backend.boot([routing], { api: false, worker: true });
    await routed.backend.query(
      `INSERT INTO routing.emissions (tenant_id, queue, day, count) VALUES ($1, 'email', (now() AT TIME ZONE 'UTC')::date, 990)`,
      [tenant.id],
    );
    await tenant.route(email());
    await tenant.route(email());
    await Promise.all(Array.from({ length: 15 }, (_, i) => tenant.data(`s${i}`, { temp: 1 })));
    await received(10);
    await settled(routed, tenant);
    expect(mails).toHaveLength(10);
    await eventually(() => tenant.audited('email').length === 1);
    await second.close();
  });

  it('that the server does not take now are sent later; those that it never will are audited', async () => {
    await tenant.route(email());
    refusal = { responseCode: 451, message: 'try again later' };
    await tenant.data('s1', { temp: 1 });
    await eventually(async () => {
      const rows = await routed.backend.query(
        'SELECT 1 FROM routing.deliveries WHERE tenant_id = $1 AND attempt = 1 AND NOT taken',
        [tenant.id],
      );
      return rows.length === 1;
    });
    refusal = undefined;
    await routed.pass(5);
    await received(1);
    await settled(routed, tenant);
    expect(tenant.audited('email')).toHaveLength(0);
    refusal = { responseCode: 550, message: 'nobody here' };
    await tenant.data('s1', { temp: 1 });
    const [entry] = await eventually(() => tenant.audited('email').length === 1 && tenant.audited('email'));
    expect(entry!.description).toContain('nobody here');
    await settled(routed, tenant);
    expect(mails).toHaveLength(1);
  });
});

describe('SMS', () => {
  const sms = (numbers: string[], contentTemplate: string): object => ({
    sms: [{ destinationPhoneNumbers: numbers, contentTemplate }],
  });

  it('NTF-003 go to each number, with the same text', async () => {
    const { id } = await tenant.route(
      sms(['+33601234567', '+33601234568'], '{{stateKey}} new state {{newState}} at {{timestamp}}'),
      { stateChange: { version: 1 } },
    );
    await stateChange();
    const waiting = await waitingSms(2);
    await settled(routed, tenant);
    expect(waiting.map((each) => each.destinationPhoneNumber)).toEqual(['+33601234567', '+33601234568']);
    expect(waiting[0]!.content).toMatch(/^s1 new state hot at 20[\d-]+T[\d:.]+Z$/);
    expect(waiting[1]!.content).toBe(waiting[0]!.content);
    expect(waiting[0]!.actionPolicyId).toBe(id);
    expect((await routed.tenant().api.get(SMS)).body).toEqual([]);
    const other = apiClient(routed.platform.url, tenant.key);
    expect((await other.get<Sms[]>(`${SMS}?limit=1&offset=1`)).body.map((each) => each.destinationPhoneNumber)).toEqual(
      ['+33601234568'],
    );
  });

  it('NTF-008 tell of the motion of use case 1', async () => {
    await tenant.route(
      sms(
        ['+33612345667'],
        'Motion detection! Sensor: {{matchingContext.data.metadata.network.mqtt.clientId}} at {{matchingContext.data.timestamp}}',
      ),
      { matchingFired: { version: 1 } },
    );
    await tenant.event('matchingFired', {
      timestamp: future(),
      matchingContext: {
        data: { timestamp: '2019-09-06T23:58:10.953Z', metadata: { network: { mqtt: { clientId: '1234qfre' } } } },
      },
    });
    const [only] = await waitingSms(1);
    expect(only).toMatchObject({
      destinationPhoneNumber: '+33612345667',
      content: 'Motion detection! Sensor: 1234qfre at 2019-09-06T23:58:10.953Z',
    });
  });

  it('NTF-012 LIM-023 are sent up to 10 a day, and the audit log says nothing', async () => {
    await tenant.route(sms(['+33601234567', '+33601234568', '+33601234569'], '{{value.n}}'));
    for (let n = 0; n < 5; n++) await tenant.data('s1', { n });
    await settled(routed, tenant);
    expect(await waitingSms(10)).toHaveLength(10);
    await nextDay();
    await tenant.data('s1', { n: 9 });
    await settled(routed, tenant);
    expect(await waitingSms(13)).toHaveLength(13);
    expect(tenant.audited('sms')).toHaveLength(0);
  });

  it('wait for the connector, which takes each once and again when it does not say that they are sent', async () => {
    await tenant.route(sms(['+33601234567', '+33601234568'], '{{value.n}}'));
    await tenant.data('s1', { n: 1 });
    await waitingSms(2);
    const takeMine = async () =>
      (await callRpc(routed.bus, takeSms, { limit: 1000 })).sms.filter(({ tenantId }) => tenantId === tenant.id);
    const taken = await takeMine();
    expect(taken.map(({ phoneNumber, text }) => [phoneNumber, text])).toEqual([
      ['+33601234567', '1'],
      ['+33601234568', '1'],
    ]);
    expect(await takeMine()).toEqual([]);
    await callRpc(routed.bus, smsSent, { ids: [taken[0]!.id] });
    await callRpc(routed.bus, smsSent, { ids: [taken[0]!.id] });
    await routed.backend.query(`UPDATE routing.waiting_sms SET taken_until = now() - interval '1 second'`);
    expect(await takeMine()).toEqual([taken[1]]);
    expect(await waitingSms(1)).toHaveLength(1);
  });
});

describe('one policy', () => {
  let webhook: Webhook;
  beforeEach(async () => {
    webhook = await startWebhook();
  });
  afterEach(() => webhook.close());

  it('NTF-009 sends an alarm by all five actions, and has one trigger', async () => {
    await tenant.api.post('/api/v0/topics/fifo', { name: 'myFifo' });
    const actions = {
      emails: [
        {
          to: ['notification@orange.com'],
          cc: ['cc@orange.com'],
          cci: ['cci@orange.com'],
          subjectTemplate: 'State change for {{stateKey}}',
          contentTemplate: '{{stateKey}} change from state {{previousState}} to state {{newState}} at {{timestamp}}',
        },
      ],
      sms: [
        {
          destinationPhoneNumbers: ['+33601234567'],
          contentTemplate: '{{stateKey}} new state {{newState}} at {{timestamp}}',
        },
      ],
      httpPush: [
        {
          webhookUrl: webhook.url,
          headers: { authorization: ['Bearer 00000000-0000-0000-0000-000000000000'] },
          retryOnFailure: true,
          content:
            '{"text": "Devices {{deviceIds}} activity change triggered by activity rule: {{ruleIds}} : at {{timestamp}}"}',
        },
      ],
      fifoPublish: [{ fifoName: 'myFifo' }],
      azureEventHubs: [
        {
          eventHubsNamespace: webhook.host,
          eventHubName: 'myEventHubName',
          sharedAccessKeyName: 'mySharedAccessKeyName',
          sharedAccessKey: 'mySharedAccessKey',
          content:
            '{"text": "Devices {{deviceIds}} activity change triggered by activity rule: {{ruleIds}} : at {{timestamp}}"}',
          retryOnFailure: false,
        },
      ],
    };
    await tenant.route(actions, {
      stateChange: { version: 1, filter: { ruleIds: ['state-change-event-3422c5ac-de95-4727-855a-39d43902b7b3'] } },
    });
    const two = { stateChange: { version: 1 }, matchingFired: { version: 1 } };
    expect(
      (await tenant.api.post('/api/v1/event2action/actionPolicies', { enabled: true, triggers: two, actions })).status,
    ).toBe(400);
    const rule = { id: 'state-change-event-3422c5ac-de95-4727-855a-39d43902b7b3', name: 'r' };
    await tenant.event('stateChange', { ...STATE_CHANGE, timestamp: future(), stateProcessingRule: rule });
    await received(1);
    await eventually(() => webhook.pushes.length === 2);
    await settled(routed, tenant);
    expect(webhook.pushes.map(({ path }) => path).toSorted()).toEqual(['/hook', '/myEventHubName/messages']);
    expect([mails.length, (await waitingSms(1)).length]).toEqual([1, 1]);
    const fifo = await tenant.api.get<{ messages: number }>('/api/v0/topics/fifo/myFifo');
    expect(fifo.body.messages).toBe(1);
  });
});
