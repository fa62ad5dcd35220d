import { createHmac } from 'node:crypto';
import { eventually } from '@orrery/core/testing';
import { RETRY_DELAYS_MS } from './retries.js';
import { POLICIES, type Routed, type RoutedTenant, settled, startRouted } from '../testing/routed.js';
import { startWebhook, status, type Webhook } from '../testing/webhook.js';

let routed: Routed;
let tenant: RoutedTenant;
let webhook: Webhook;

beforeAll(async () => {
  routed = await startRouted();
});
afterAll(() => routed.stop());
beforeEach(async () => {
  tenant = routed.tenant();
  webhook = await startWebhook();
});
afterEach(() => webhook.close());

const push = (more: object = {}): object => ({ httpPush: [{ webhookUrl: webhook.url, ...more }] });
const received = (count: number): Promise<Webhook['pushes']> =>
  eventually(() => webhook.pushes.length >= count && webhook.pushes);

/** The body of the push of one message. */
async function bodyOf(more: object, value: Record<string, unknown> = {}): Promise<string> {
  await tenant.route(push(more));
  await tenant.data('s1', value);
  return (await received(1))[0]!.body;
}

/**
 * From now on what the tenant has to retry is due at once, so that the seconds of a slow machine do not count.
 * @returns gives the delays that it would have had, in milliseconds.
 */
async function atOnce(): Promise<() => Promise<number[]>> {
  const { id } = tenant;
  await routed.backend.query(`
    CREATE TABLE IF NOT EXISTS delays (tenant_id text, ms integer, number serial);
    CREATE OR REPLACE FUNCTION note_delay() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        INSERT INTO public.delays (tenant_id, ms) VALUES (NEW.tenant_id, extract(epoch FROM NEW.due - now()) * 1000);
        NEW.due := now();
        RETURN NEW;
      END $$;
    CREATE OR REPLACE TRIGGER note_delay BEFORE UPDATE ON routing.deliveries FOR EACH ROW
      WHEN (NEW.tenant_id = '${id}' AND NEW.attempt > OLD.attempt) EXECUTE FUNCTION note_delay();
  `);
  return async () => {
    const noted = await routed.backend.query<{ ms: number }>(
      'SELECT ms FROM delays WHERE tenant_id = $1 ORDER BY number',
      [id],
    );
    return noted.map(({ ms }) => ms);
  };
}
/** Waits for so many pushes in all, retries included. */
const retried = (count: number): Promise<unknown> =>
  eventually(async () => {
    await routed.pass(0);
    return webhook.pushes.length >= count;
  });

describe('the request', () => {
  it('HPU-001 posts what the template makes of the message, and needs a URL', async () => {
    const body = JSON.parse(
      await bodyOf({ content: '{"text": "data pushed to stream : {{streamId}}, at {{timestamp}}"}' }),
    ) as { text: string };
    expect(body.text).toMatch(/^data pushed to stream : s1, at 20\d\d-\d\d-\d\dT[\d:.]+Z$/);
    expect(webhook.pushes[0]!.path).toBe('/hook');
    const answer = await tenant.api.post(POLICIES, {
      enabled: true,
      triggers: { dataMessage: { version: 1 } },
      actions: { httpPush: [{ content: 'x' }] },
    });
    expect(answer).toMatchObject({
      status: 400,
      body: { details: [{ field: 'actions.httpPush[0].webhookUrl', expected: expect.stringContaining('URL') }] },
    });
  });

  it('HPU-002 posts the whole message without a template', async () => {
    const body = JSON.parse(await bodyOf({}, { temp: 1, text: 'a"\\ é\u2028' })) as object;
    expect(body).toMatchObject({
      type: 'dataMessage',
      version: 1,
      streamId: 's1',
      value: { temp: 1, text: 'a"\\ é\u2028' },
      metadata: { connector: 'mqtt', source: 's1' },
    });
  });

  it('HPU-003 posts the part that jsonPath selects, or what the template makes of it', async () => {
    const value = { payload: 'ae2109000cf6', customMetadata: { name: 'sensor1' } };
    for (const jsonPath of ['value', '$.value', "$['value']"])
      for (const [content, expected] of [
        [undefined, JSON.stringify(value)],
        ['{{customMetadata.name}}', 'sensor1'],
      ] as const) {
        webhook.pushes = [];
        const { id } = await tenant.route(push({ jsonPath, content }));
        await tenant.data('s1', value);
        expect((await received(1))[0]!.body).toBe(expected);
        await tenant.api.delete(`${POLICIES}/${id}`);
      }
  });

  it('HPU-004 sends the headers of the action as they are', async () => {
    await bodyOf({ headers: { Authorization: ['Basic bGl2ZW9iamVjdHM6cm9ja3MK='], 'x-a': ['1', '2'] } });
    const { headers, rawHeaders } = webhook.pushes[0]!;
    expect(headers['authorization']).toBe('Basic bGl2ZW9iamVjdHM6cm9ja3MK=');
    expect(rawHeaders.filter((_, i) => rawHeaders[i - 1]?.toLowerCase() === 'x-a')).toEqual(['1', '2']);
  });

  it('HPU-005 HPU-006 names the policy, and the push by an id that its retries keep', async () => {
    let failures = 2;
    webhook.answer = (...answer) => status(failures-- > 0 ? 500 : 200)(...answer);
    await atOnce();
    const { id } = await tenant.route(push({ retryOnFailure: true }));
    await tenant.data('s1');
    await retried(3);
    await settled(routed, tenant);
    await tenant.data('s1');
    await received(4);
    const ids = webhook.pushes.map(({ headers }) => headers['x-orange-lo-message-id']);
    expect(ids[0]).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(new Set(ids.slice(0, 3)).size).toBe(1);
    expect(ids[3]).not.toBe(ids[0]);
    for (const { headers } of webhook.pushes) expect(headers['x-orange-lo-policy-id']).toBe(id);
  });

  it('HPU-007 is application/json when the body is a JSON object, else text/plain', async () => {
    for (const [content, type] of [
      ['{"a":1}', 'application/json'],
      [' { "a" : "{{streamId}}" } ', 'application/json'],
      ['hello {{streamId}}', 'text/plain'],
      ['[1]', 'text/plain'],
      ['{"a":', 'text/plain'],
      ['1', 'text/plain'],
    ]) {
      webhook.pushes = [];
      const { id } = await tenant.route(push({ content, headers: { 'content-type': ['x/y'] } }));
      await tenant.data('s1');
      expect([content, (await received(1))[0]!.headers['content-type']]).toEqual([content, type]);
      await tenant.api.delete(`${POLICIES}/${id}`);
    }
  });

  it('NTF-005 renders alarm events, in which what a tag does not find is empty text', async () => {
    await tenant.route(
      push({ content: 'Devices {{deviceIds}} change by {{ruleIds}} at {{timestamp}}, value : {{value}}' }),
      { deviceActivity: { version: 1 } },
    );
    const content =
      '{"text": "Devices {{deviceIds}} activity change triggered by activity rule: {{ruleIds}} : at {{timestamp}}"}';
    await tenant.route(push({ content }), { deviceActivity: { version: 1 } });
    await tenant.route(
      {
        sms: [
          {
            destinationPhoneNumbers: ['+33123456789'],
            contentTemplate: 'Event fired at {{timestamp}} with value : {{value}}',
          },
        ],
      },
      { matchingFired: { version: 1 } },
    );
    const timestamp = '2019-09-02T13:55:17.433Z';
    await tenant.event('deviceActivity', {
      deviceId: 'd',
      activityRule: { id: 'r', name: 'n' },
      timestamp: new Date().toISOString(),
    });
    await tenant.event('matchingFired', {
      firingRule: { id: 'f' },
      timestamp: new Date().toISOString(),
      fired: timestamp,
    });
    const texts = (await received(2)).map(({ body }) => body);
    expect(texts.find((text) => text.startsWith('{'))).toMatch(
      /^\{"text": "Devices {2}activity change triggered by activity rule: {2}: at 20[\d-]+T[\d:.]+Z"\}$/,
    );
    const [sms] = await eventually(async () => {
      const { body } = await tenant.api.get<Array<{ content: string }>>('/api/v1/event2action/sms');
      return body.length === 1 && body;
    });
    expect(sms!.content).toMatch(/^Event fired at 20[\d-]+T[\d:.]+Z with value : $/);
  });

  it('NTF-006 gives templates the routed event as their root, whatever its kind', async () => {
    const content =
      '{{type}}: {{firingRule.name}}|{{stateProcessingRuleId}}|{{activityRule.name}}|{{deviceId}}|{{metadata.source}}';
    const triggers = ['matchingFired', 'stateChange', 'deviceActivity', 'deviceStatus', 'dataMessage'];
    for (const type of triggers) await tenant.route(push({ content }), { [type]: { version: 1 } });
    await tenant.event('matchingFired', { firingRule: { id: 'f', name: 'fire' } });
    await tenant.event('stateChange', { stateProcessingRuleId: 'rule-1' });
    await tenant.event('deviceActivity', { activityRule: { id: 'a', name: 'silence' }, deviceId: 'd' });
    await tenant.event('deviceStatus', { deviceId: 'd' });
    await tenant.data('s1');
    const texts = (await received(5)).map(({ body }) => body);
    expect(texts.toSorted()).toEqual([
      'dataMessage: ||||s1',
      'deviceActivity: ||silence|d|',
      'deviceStatus: |||d|',
      'matchingFired: fire||||',
      'stateChange: |rule-1|||',
    ]);
  });

  it('NTF-007 reaches nested fields, inserts them without escaping and objects as JSON', async () => {
    await tenant.route(push({ content: '{{metadata.group.path}} {{value}} {{{value.text}}} {{value.text}}' }));
    await tenant.route(
      push({ content: 'Event for Rule {{activityRule.name}} and device {{deviceAdditionalInfo.deviceName}}' }),
      { deviceActivity: { version: 1 } },
    );
    await routed.producer.data(tenant.id, 's1', { groupPath: '/europe', value: { temp: 100, text: '<a href="/x">&' } });
    expect((await received(1))[0]!.body).toBe(
      '/europe {"temp":100,"text":"<a href=\\"/x\\">&"} <a href="/x">& <a href="/x">&',
    );
    await tenant.event('deviceActivity', {
      deviceId: 'd',
      activityRule: { name: 'Silence & co' },
      deviceAdditionalInfo: { deviceName: 'Fridge' },
    });
    expect((await received(2))[1]!.body).toBe('Event for Rule Silence & co and device Fridge');
  });

  it('RTE-018 runs all actions for each message', async () => {
    const fifos = ['one', 'two'];
    for (const name of fifos) await tenant.api.post('/api/v0/topics/fifo', { name });
    await tenant.route({ ...push(), fifoPublish: fifos.map((fifoName) => ({ fifoName })) });
    await tenant.data('s1');
    await received(1);
    for (const name of fifos)
      expect((await tenant.api.get<{ messages: number }>(`/api/v0/topics/fifo/${name}`)).body.messages).toBe(1);
    await settled(routed, tenant);
    expect(webhook.pushes).toHaveLength(1);
  });

  it('RTE-024 pushes commands that expire as the raw event', async () => {
    await tenant.route(push({ headers: {}, retryOnFailure: true }), {
      commandStatus: { version: 1, filter: { status: ['EXPIRED', 'ERROR'] } },
    });
    const event = (state: string): Record<string, unknown> => ({
      id: '5dd4fa1cff8b5acbd100998b',
      targetDeviceId: 'urn:lo:nsid:bike:vin123',
      status: state,
      request: { connector: 'mqtt', value: { req: 'test', arg: { cmd: 'reset' } } },
    });
    await tenant.event('commandStatus', event('PROCESSED'));
    await tenant.event('commandStatus', event('EXPIRED'));
    const [first] = await received(1);
    expect(JSON.parse(first!.body)).toMatchObject({ type: 'commandStatus', version: 1, ...event('EXPIRED') });
    expect(webhook.pushes).toHaveLength(1);
  });
});

describe('failures', () => {
  const failed = (count = 1) => eventually(() => tenant.audited('http').length === count && tenant.audited('http'));

  it('HPU-008 discards what is refused or redirected, with one entry in the audit log', async () => {
    await tenant.route(push({ retryOnFailure: true }));
    for (const [i, code] of [400, 302].entries()) {
      webhook.answer = status(code, '', { location: '/elsewhere' });
      await tenant.data('s1');
      await failed(i + 1);
      await settled(routed, tenant);
      expect(webhook.pushes).toHaveLength(i + 1);
      expect(tenant.audited('http').at(-1)!.content).toMatchObject({ responseStatusCode: code });
    }
    expect(webhook.pushes.map(({ path }) => path)).toEqual(['/hook', '/hook']);
  });

  it('HPU-009 tries again after a 5xx if the action says so', async () => {
    webhook.answer = status(503);
    const { id } = await tenant.route(push({ retryOnFailure: false }));
    await tenant.data('s1');
    await failed();
    await settled(routed, tenant);
    expect(webhook.pushes).toHaveLength(1);
    await tenant.api.delete(`${POLICIES}/${id}`);
    await tenant.route(push({ retryOnFailure: true }));
    const began = Date.now();
    await tenant.data('s1');
    await received(3);
    expect(Date.now() - began).toBeGreaterThan(4500);
    expect(tenant.audited('http')).toHaveLength(1);
  });

  it('HPU-010 follows the table of retries, 19 requests in all, and then gives up', async () => {
    expect(RETRY_DELAYS_MS.reduce((sum, ms) => sum + ms, 0)).toBe(87_315_000);
    const delays = await atOnce();
    webhook.answer = status(500, 'no');
    await tenant.route(push({ retryOnFailure: true }));
    await tenant.data('s1');
    await retried(19);
    await settled(routed, tenant);
    expect(webhook.pushes).toHaveLength(19);
    expect(await delays()).toEqual(RETRY_DELAYS_MS);
    expect(await failed()).toHaveLength(1);
  });

  it('HPU-011 LIM-024 LIM-025 waits 5 s for an answer and for each part of it, and tries again', async () => {
    let answered = 0;
    webhook.answer = (response, { path }) => {
      if (path === '/half') response.writeHead(200, { 'content-length': '8' }).write('half');
      if (path !== '/late') return;
      setTimeout(() => {
        answered++;
        response.end();
      }, 4000);
    };
    const url = (path: string): string => `http://${webhook.host}${path}`;
    const gone = await startWebhook();
    await gone.close();
    for (const webhookUrl of [url('/never'), url('/half'), url('/late'), gone.url]) {
      await tenant.route({ httpPush: [{ webhookUrl, retryOnFailure: false }] });
      await tenant.route({ httpPush: [{ webhookUrl, retryOnFailure: true }] });
    }
    const began = Date.now();
    await tenant.data('s1');
    const entries = await failed(3);
    expect(Date.now() - began).toBeGreaterThan(4900);
    const errors = new Map(
      entries.map(({ content }) => [(content as { httpPushRequest: { url: string } }).httpPushRequest.url, content]),
    );
    expect(errors.get(url('/never'))).toMatchObject({
      success: false,
      errorMessage: 'no packet of an answer within 5000 ms',
    });
    expect(errors.get(url('/half'))).toMatchObject({
      success: false,
      errorMessage: 'no packet of an answer within 5000 ms',
    });
    expect(errors.get(gone.url)).toMatchObject({ success: false, errorMessage: 'the server refused the connection' });
    // Those that may be tried again are due later; the refused connection has been tried again already.
    await eventually(async () => {
      const rows = await routed.backend.query('SELECT 1 FROM routing.deliveries WHERE tenant_id = $1 AND attempt > 0', [
        tenant.id,
      ]);
      return rows.length === 3;
    });
    await eventually(() => answered >= 2);
    expect(tenant.audited('http')).toHaveLength(3);
  });

  it('HPU-012 AUD-020 tells the audit log once what was sent and answered, without credentials', async () => {
    webhook.answer = status(400, 'KO');
    const headers = { Authorization: ['Bearer secret-token'], 'X-Key': ['secret-key'], accept: ['a/b'] };
    const { id } = await tenant.route({
      httpPush: [{ webhookUrl: `${webhook.url}?code=secret-code`, content: '{"x":0}', headers }],
    });
    await tenant.data('s1');
    const [entry] = await failed();
    expect(entry).toMatchObject({
      level: 'error',
      category: 'notification',
      subcategory: 'http',
      source: { actionPolicyId: id },
      description: expect.stringMatching(/400.*KO/),
      content: {
        tenantId: tenant.id,
        httpPushRequest: {
          url: `${webhook.url}?***`,
          retryOnFailure: false,
          headers: { Authorization: ['***'], 'X-Key': ['***'], accept: ['a/b'] },
          requestBody: '{"x":0}',
          messageUUID: webhook.pushes[0]!.headers['x-orange-lo-message-id'],
        },
        success: false,
        responseStatusCode: 400,
        responseBody: 'KO',
        errorMessage: 'the server answered 400',
      },
    });
    expect(JSON.stringify(entry)).not.toContain('secret');
    expect(webhook.pushes[0]!.path).toBe('/hook?code=secret-code');
    await tenant.api.delete(`${POLICIES}/${id}`);

    await atOnce();
    await tenant.route(push({ retryOnFailure: true }));
    webhook.pushes = [];
    let failures = 3;
    webhook.answer = (...answer) => status(failures-- > 0 ? 500 : 200)(...answer);
    await tenant.data('s1');
    await retried(4);
    await settled(routed, tenant);
    expect([webhook.pushes.length, tenant.audited('http').length]).toEqual([4, 1]);
    webhook.answer = status(500);
    await tenant.data('s1');
    await retried(4 + 19);
    await settled(routed, tenant);
    expect(await failed(2)).toHaveLength(2);
  });

  it('discards a message in which the jsonPath selects nothing, and one whose template gets too large', async () => {
    await tenant.route(push({ jsonPath: 'value.absent', retryOnFailure: true }));
    await tenant.route(push({ content: `{{#value.list}}${'x'.repeat(60_000)}{{/value.list}}` }));
    await tenant.data('s1', { list: Array.from({ length: 100 }, (_, i) => i) });
    const entries = await failed(2);
    const messages = entries.map(({ content }) => String(content!['errorMessage'])).toSorted();
    expect(messages[0]).toContain('the jsonPath value.absent selects nothing');
    expect(messages[1]).toContain('longer than');
    expect(webhook.pushes).toHaveLength(0);
    await settled(routed, tenant);
  });
});

describe('Azure Event Hubs', () => {
  const KEY = 'mySharedAccessKey+/=';
  const hub = (more: object = {}): object => ({
    azureEventHubs: [
      {
        eventHubsNamespace: webhook.host,
        eventHubName: 'myEventHubName',
        sharedAccessKeyName: 'mySharedAccessKeyName',
        sharedAccessKey: KEY,
        retryOnFailure: false,
        ...more,
      },
    ],
  });

  it('AZU-002 posts each message to the Event Hub with a signature of the shared access policy', async () => {
    await tenant.route(hub());
    await tenant.data('s1');
    await tenant.data('s2');
    const [first] = await received(2);
    await settled(routed, tenant);
    expect(webhook.pushes).toHaveLength(2);
    expect(first!.path).toBe('/myEventHubName/messages');
    const [scheme, token] = first!.headers.authorization!.split(' ') as [string, string];
    expect(scheme).toBe('SharedAccessSignature');
    const { sr, sig, se, skn } = Object.fromEntries(new URLSearchParams(token));
    expect([sr, skn]).toEqual([`http://${webhook.host}/myEventHubName`, 'mySharedAccessKeyName']);
    expect(Number(se)).toBeGreaterThan(Date.now() / 1000);
    const signed = createHmac('sha256', KEY)
      .update(`${encodeURIComponent(sr!)}\n${se}`)
      .digest('base64');
    expect(sig).toBe(signed);
  });

  it('AZU-003 sends what the template makes of the message or its part, else the message', async () => {
    for (const [more, expected] of [
      [
        { content: '{"text": "new message sent by device {{metadata.source}} at {{timestamp}}"}' },
        /^\{"text": "new message sent by device s1 at 20[\d-]+T[\d:.]+Z"\}$/,
      ],
      [{}, /^\{"type":"dataMessage","version":1,.*"streamId":"s1"/],
      [{ content: '' }, /^\{"type":"dataMessage","version":1,.*"streamId":"s1"/],
      [{ jsonPath: 'value', content: '{"temperature": {{temp}} }' }, /^\{"temperature": 21\.5 \}$/],
    ] as const) {
      webhook.pushes = [];
      const { id } = await tenant.route(hub(more));
      await tenant.data('s1', { temp: 21.5 });
      expect((await received(1))[0]!.body).toMatch(expected);
      await tenant.api.delete(`${POLICIES}/${id}`);
    }
  });

  it('AZU-004 AZU-005 AUD-021 discards, tries again and audits as httpPush does, without the key', async () => {
    webhook.answer = status(401, 'Unauthorized');
    const refused = await tenant.route(hub({ retryOnFailure: true }));
    await tenant.data('s1');
    const [entry] = await eventually(() => tenant.audited('azure').length === 1 && tenant.audited('azure'));
    expect(entry).toMatchObject({
      level: 'error',
      category: 'notification',
      subcategory: 'azure',
      source: { actionPolicyId: refused.id },
      content: { responseStatusCode: 401, responseBody: 'Unauthorized' },
    });
    expect(JSON.stringify(entry)).not.toMatch(/mySharedAccessKey\+|SharedAccessSignature/);
    await settled(routed, tenant);
    expect(webhook.pushes).toHaveLength(1);
    await tenant.api.delete(`${POLICIES}/${refused.id}`);

    webhook.answer = status(503);
    const discarded = await tenant.route(hub());
    await tenant.data('s1');
    await eventually(() => tenant.audited('azure').length === 2);
    await settled(routed, tenant);
    expect(webhook.pushes).toHaveLength(2);
    await tenant.api.delete(`${POLICIES}/${discarded.id}`);
    await tenant.route(hub({ retryOnFailure: true }));
    const began = Date.now();
    await tenant.data('s1');
    await received(4);
    expect(Date.now() - began).toBeGreaterThan(4500);
    expect(tenant.audited('azure')).toHaveLength(2);
  });
});
