import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { connectAsync } from 'mqtt';
import { RpcError, serveRpc } from '@orrery/core/bus';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { eventually } from '@orrery/core/testing';
import {
  type CertificateAuthority,
  certificateAuthority,
  type ClientCertificate,
} from '@orrery/core/testing/certificates';
import { findCaCertificate } from '@orrery/identity/contract';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';

const HOUR = 3_600_000;
const registered = new Map<string, string>();
const clients: RawClient[] = [];
let around: Surroundings;
let authority: CertificateAuthority;
let namesake: CertificateAuthority;
let expired: CertificateAuthority;

beforeAll(async () => {
  around = await startSurroundings();
  authority = await certificateAuthority('CN=Acme CA');
  namesake = await certificateAuthority('CN=Acme CA');
  const past = { notBefore: new Date(Date.now() - 2 * HOUR), notAfter: new Date(Date.now() - HOUR) };
  registered.set('acme/ca', authority.pem);
  registered.set('acme/other', (await certificateAuthority('CN=Other CA')).pem);
  expired = await certificateAuthority('CN=Expired CA', past);
  registered.set('acme/expired', expired.pem);
  serveRpc(around.bus, findCaCertificate, ({ tenantId, id }) => {
    const certificate = registered.get(`${tenantId}/${id}`);
    if (!certificate) throw new RpcError('NOT_FOUND', 'Not found');
    return { certificate };
  });
  await around.bus.connection.flush();
});
afterAll(async () => {
  for (const client of clients) client.end();
  await around.backend.stop();
});

const grant = (clientCert?: ApiKeyIdentity['clientCert'], key: Partial<ApiKeyIdentity> = {}): string =>
  around.keys.grant('acme', { ...(clientCert ? { clientCert } : {}), ...key }).value;
const required = { caCertIds: ['ca'], required: true };
const open = async (certificate?: ClientCertificate, options: ConnectionOptions = {}): Promise<RawClient> => {
  const client = await RawClient.open(around.ports.tls, { rejectUnauthorized: false, ...certificate, ...options });
  clients.push(client);
  return client;
};
/** Completes the handshake and connects. @returns the code. */
const connect = async (certificate: ClientCertificate | undefined, key: string, clientId: string): Promise<number> =>
  (await open(certificate)).connect('json+device', key, clientId);

describe('client certificates', () => {
  it('MQT-042 a key that requires one is refused without it, and audited', async () => {
    expect(await connect(undefined, grant(required), 'without')).toBe(5);
    const { description } = await around.audit('connection_refused', 'without');
    expect(description).toBe('Connection refused: the API key needs a client certificate');
    expect(around.inventory.requests.filter(({ nodeId }) => nodeId === 'without')).toEqual([]);
  });

  it('a key that requires one gets 0x04 without encryption', async () => {
    const client = await RawClient.open(around.ports.plain);
    clients.push(client);
    expect(await client.connect('json+device', grant(required), 'plain')).toBe(4);
  });

  it('let a device in, whose interface says so', async () => {
    const certificate = await authority.issue('CN=good, O=Acme');
    const client = await connectAsync(`mqtts://localhost:${around.ports.tls}`, {
      ...certificate,
      rejectUnauthorized: false,
      clientId: 'good',
      username: 'json+device',
      password: grant({ caCertIds: ['other', 'ca'], required: true }),
    });
    await client.publishAsync('dev/data', '{"v":{"mark":"certified"}}', { qos: 1 });
    await around.message('certified');
    const { activity } = await around.event('nodeConnected', 'good');
    expect(activity!['security']).toMatchObject({ secured: true, clientCertAuthentication: true });
    await client.endAsync();
  });

  it('MQT-044 are refused after the handshake when chain, dates or kind are wrong', async () => {
    const key = grant({ caCertIds: ['other', 'ca', 'expired'], required: true });
    const stranger = await certificateAuthority('CN=Stranger CA');
    const past = { notBefore: new Date(Date.now() - 2 * HOUR), notAfter: new Date(Date.now() - 1000) };
    const future = { notBefore: new Date(Date.now() + HOUR), notAfter: new Date(Date.now() + 2 * HOUR) };
    const wrong: Array<[string, CertificateAuthority, Parameters<CertificateAuthority['issue']>[1], string]> = [
      ['stranger', stranger, {}, 'not signed by a CA'],
      ['namesake', namesake, {}, 'not signed by a CA'],
      ['expired-ca', expired, {}, 'in force'],
      ['expired', authority, past, 'valid from'],
      ['future', authority, future, 'valid from'],
      ['authority', authority, { ca: true }, 'is a CA certificate'],
    ];
    for (const [clientId, issuer, options, expected] of wrong) {
      const client = await open(await issuer.issue(`CN=${clientId}`, options));
      expect([clientId, await client.connect('json+device', key, clientId)]).toEqual([clientId, 5]);
      expect((await around.audit('connection_refused', clientId)).description).toContain(expected);
    }
    expect(await connect(await authority.issue('CN=right', { ca: false }), key, 'right')).toBe(0);
  });

  it('MQT-045 name the device by its client id or its URN', async () => {
    const key = grant(required);
    const named = async (clientId: string, subject: string): Promise<number> =>
      connect(await authority.issue(subject), key, clientId);
    expect(await named('dev1', 'CN=dev2')).toBe(5);
    expect((await around.audit('connection_refused', 'dev1')).description).toContain('common name "dev2"');
    expect(await named('dev1', 'O=dev1')).toBe(5);
    expect(await named('dev1', 'CN=dev2, CN=dev1')).toBe(5);
    expect(await named('dev1', 'CN=urn:lo:nsid:mqtt:dev2')).toBe(5);
    expect(around.inventory.nodes.has('acme/dev1')).toBe(false);
    expect(await named('dev1', 'CN=dev1')).toBe(0);
    expect(await named('dev2', 'CN=urn:lo:nsid:mqtt:dev2')).toBe(0);
    expect(await named('urn:lo:nsid:meter:1', 'CN=urn:lo:nsid:meter:1')).toBe(0);
    around.inventory.set('acme', 'dev3', { deviceId: 'urn:lo:nsid:meter:3' });
    expect(await named('dev3', 'CN=urn:lo:nsid:mqtt:dev3')).toBe(5);
    expect(await named('dev3', 'CN=urn:lo:nsid:meter:3')).toBe(0);
  });

  it('MQT-046 name anybody in connector and application mode', async () => {
    const connector = await open(await authority.issue('CN=zzz'));
    expect(await connector.connect('connector', grant(required), 'abc')).toBe(0);
    const client = await open(await authority.issue('CN=zzz'));
    expect(await client.connect('application', grant(required), 'abc')).toBe(0);
  });

  it('MQT-047 are optional unless required, but checked when they are presented', async () => {
    const key = grant({ caCertIds: ['ca'], required: false });
    expect(await connect(undefined, key, 'optional')).toBe(0);
    expect(await connect(await namesake.issue('CN=optional'), key, 'optional')).toBe(5);
    expect(await connect(await authority.issue('CN=other'), key, 'optional')).toBe(5);
    expect(await connect(await authority.issue('CN=optional'), key, 'optional')).toBe(0);
    const plain = await RawClient.open(around.ports.plain);
    clients.push(plain);
    expect(await plain.connect('json+device', key, 'optional-plain')).toBe(0);
  });

  it('mean nothing to a key without CA certificates', async () => {
    expect(await connect(await namesake.issue('CN=whoever'), grant(), 'unconcerned')).toBe(0);
    const { activity } = await around.event('nodeConnected', 'unconcerned');
    expect(activity!['security']).toMatchObject({ clientCertAuthentication: false });
  });

  it('of another tenant vouch for nobody', async () => {
    registered.set('umbrella/umbrella', namesake.pem);
    const certificate = await namesake.issue('CN=foreign');
    const key = grant({ caCertIds: ['umbrella'], required: true });
    expect(await connect(certificate, key, 'foreign')).not.toBe(0);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('are known when a %s session is resumed', async (version) => {
    const key = grant(required);
    const clientId = `resumed-${version.slice(-1)}`;
    const versions = { minVersion: version, maxVersion: version };
    const certificate = await authority.issue(`CN=${clientId}`);
    const first = await open(certificate, versions);
    const socket = first.socket as TLSSocket;
    // With TLS 1.3 it comes after the handshake, with TLS 1.2 it is there already.
    let session: Buffer | undefined = version === 'TLSv1.2' ? socket.getSession() : undefined;
    socket.on('session', (ticket: Buffer) => (session = ticket));
    expect(await first.connect('json+device', key, clientId)).toBe(0);
    const ticket = await eventually(() => session);
    first.end();
    const second = await open(undefined, { ...versions, session: ticket });
    expect((second.socket as TLSSocket).isSessionReused()).toBe(true);
    expect(await second.connect('json+device', key, clientId)).toBe(0);
    const third = await open(undefined, { ...versions, session: ticket });
    expect(await third.connect('json+device', key, 'somebody-else')).toBe(5);
  });

  it('end sessions that a changed key would not let in any more', async () => {
    const withCertificate = grant(required);
    const certified = await open(await authority.issue('CN=certified-key'));
    expect(await certified.connect('json+device', withCertificate, 'certified-key')).toBe(0);
    around.keys.change(withCertificate, { clientCert: { caCertIds: ['ca', 'other'], required: true } });
    await certified.ping();
    around.keys.change(withCertificate, { clientCert: { caCertIds: ['other'], required: false } });
    await certified.isClosed();

    const without = grant();
    const anonymous = await open();
    const unchecked = await open(await namesake.issue('CN=unchecked'));
    expect(await anonymous.connect('json+device', without, 'anonymous')).toBe(0);
    expect(await unchecked.connect('json+device', without, 'unchecked')).toBe(0);
    around.keys.change(without, { clientCert: { caCertIds: ['ca'], required: false } });
    await unchecked.isClosed();
    await anonymous.ping();
    around.keys.change(without, { clientCert: required });
    await anonymous.isClosed();
  });
});
