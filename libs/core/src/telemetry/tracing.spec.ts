import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startTraceCollector, type TraceCollector } from '../testing/index.js';
import {
  createLogger,
  maySampled,
  metrics,
  NO_TRACING,
  parseTraceparent,
  startTracing,
  type Tracing,
} from './index.js';

const TRACE = 'ab'.repeat(16);
const SPAN = 'cd'.repeat(8);
const logger = createLogger('test', 'silent');
const outcomes = async (): Promise<Record<string, number>> =>
  Object.fromEntries((await metrics.traceSpans.get()).values.map(({ labels, value }) => [labels.outcome, value]));
const start = (endpoint: string, ratio = 0): Promise<Tracing> =>
  startTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_TRACES_SAMPLER_ARG: ratio }, 'test', logger);
const sampled = (): string => `00-${randomBytes(16).toString('hex')}-${SPAN}-01`;

describe('trace contexts', () => {
  it.each([
    [`00-${TRACE}-${SPAN}-01`, true],
    [`00-${TRACE}-${SPAN}-00`, false],
    [`00-${TRACE}-${SPAN}-03`, true],
    [`00-${TRACE}-${SPAN}-fe`, false],
  ])('reads %s', (text, isSampled) => {
    expect(parseTraceparent(text)).toEqual({ traceId: TRACE, spanId: SPAN, sampled: isSampled });
    expect(maySampled(JSON.stringify({ tenantId: 't', traceparent: text, id: '1' }))).toBe(isSampled);
  });

  it.each([
    undefined,
    null,
    42,
    [`00-${TRACE}-${SPAN}-01`],
    '',
    `01-${TRACE}-${SPAN}-01`,
    `00-${TRACE}-${SPAN}-1`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${TRACE}-${SPAN}-01\n`,
    `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE}-${SPAN}-01`.repeat(100_000),
  ])('takes %# for none', (text) => {
    expect(parseTraceparent(text)).toBeUndefined();
  });
});

describe('without a collector', () => {
  it('records nothing, and gives no item another header', async () => {
    const config = { OTEL_EXPORTER_OTLP_ENDPOINT: undefined, OTEL_TRACES_SAMPLER_ARG: 1 };
    const tracing = await startTracing(config, 'test', logger);
    expect(tracing).toBe(NO_TRACING);
    expect(tracing.enter('a', 'server', { traceparent: sampled() })).toBeUndefined();
    expect(tracing.follow('a', 'client', sampled())).toBeUndefined();
    const header = JSON.stringify({ traceparent: sampled() });
    const items = [{ header, body: '{}' }];
    tracing.batch('a', 'consumer', items, () => ({})).end();
    expect(items).toEqual([{ header, body: '{}' }]);
  });
});

describe('with a collector', () => {
  let collector: TraceCollector;
  beforeEach(async () => {
    collector = await startTraceCollector();
  });
  afterEach(() => collector.close());

  it('follows in a batch the items that are sampled, by the header alone', async () => {
    const tracing = await start(collector.url);
    const traced = { tenantId: 't', traceparent: `00-${TRACE}-${SPAN}-01`, rules: { a: 1 } };
    const others = [
      { tenantId: 't', traceparent: `00-${TRACE}-${SPAN}-00` },
      { tenantId: 't', stored: { traceparent: `00-${TRACE}-${SPAN}-01` } },
      { tenantId: 't', streamId: '"traceparent":"00-' },
      {},
    ];
    const items = [traced, ...others].map((header) => ({ header: JSON.stringify(header), body: 'b' }));
    items.push({ header: `{"traceparent":"00-${TRACE}-${SPAN}-01"`, body: 'cut off' });
    const before = [...items];
    const spans = tracing.batch('process', 'consumer', items, (_, { tenantId }) => ({ tenant: String(tenantId) }));
    expect(items.slice(1)).toEqual(before.slice(1));
    const header = JSON.parse(items[0]!.header) as typeof traced;
    expect(header).toEqual({ ...traced, traceparent: expect.stringContaining(`00-${TRACE}-`) });
    spans.fail(items[0]!, Object.assign(new Error('value 12345'), { code: '22P02' }));
    spans.end();
    await tracing.close();
    expect(collector.spans).toMatchObject([
      {
        name: 'process',
        traceId: TRACE,
        parent: SPAN,
        spanId: header.traceparent.slice(36, 52),
        failed: true,
        attributes: { tenant: 't', 'error.type': '22P02' },
      },
    ]);
    expect(collector.received.join()).not.toContain('12345');
  });

  it('honours so many callers a second, and no more', async () => {
    const tracing = await start(collector.url);
    // It may take a second or two.
    for (let i = 0; i < 1000; i++) tracing.enter('a', 'server', { traceparent: sampled() })?.end();
    await tracing.close();
    expect(collector.spans.length).toBeGreaterThanOrEqual(100);
    expect(collector.spans.length).toBeLessThan(1000);
  });

  it('nobody behind records the trace of a caller of which nothing was begun', async () => {
    const tracing = await start(collector.url);
    const passed = tracing.passOn(`00-${TRACE}-${SPAN}-01`);
    expect(parseTraceparent(passed)).toEqual({ traceId: TRACE, spanId: SPAN, sampled: false });
    expect(tracing.passOn('nonsense')).toBeUndefined();
    expect(tracing.passOn(undefined)).toBeUndefined();
    await tracing.close();
  });
});

describe('with a collector that is gone', () => {
  it('drops what it cannot send, and ends in time', async () => {
    const hanging = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(hanging, 'listening');
    const { port } = hanging.address() as AddressInfo;
    const refusing = createServer().listen(0, '127.0.0.1');
    await once(refusing, 'listening');
    const { port: closed } = refusing.address() as AddressInfo;
    await new Promise((resolve) => refusing.close(resolve));
    const before = await outcomes();
    for (const each of [port, closed]) {
      const tracing = await start(`http://127.0.0.1:${each}`, 1);
      for (let i = 0; i < 10_000; i++) tracing.enter('a', 'server', {})?.end();
      await tracing.close();
    }
    const after = await outcomes();
    // All but those that may wait.
    expect(after['dropped']! - (before['dropped'] ?? 0)).toBe(2 * (10_000 - 4096));
    expect(after['exported'] ?? 0).toBe(before['exported'] ?? 0);
    hanging.closeAllConnections();
    await new Promise((resolve) => hanging.close(resolve));
  });
});
