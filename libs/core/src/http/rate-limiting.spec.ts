import { setTimeout as delay } from 'node:timers/promises';
import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { IsString } from 'class-validator';
import { Redis } from 'ioredis';
import { limitsOf, newSettings, UNLIMITED_OFFER } from '../limits/index.js';
import type { Service } from '../service/index.js';
import {
  type ApiAnswer,
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
  type TestPlatform,
  withinWindow,
} from '../testing/index.js';
import { ApiError } from './errors.js';
import { Public, Requires } from './authorization.js';
import { Limited } from './rate-limiting.js';

const MINUTE = 60_000;
const HOUR = 3_600_000;

/** Requests that wait until the test lets them go. */
let waiting: Array<() => void> = [];
const wait = (): Promise<void> => new Promise((resolve) => waiting.push(resolve));
const letGo = (): void => waiting.splice(0).forEach((go) => go());

class Thing {
  @IsString()
  name!: string;
}

@Controller('api/v0/things')
class ThingsController {
  @Get()
  @Requires('DATA_R')
  list(): string[] {
    return [];
  }

  @Get('slow')
  @Requires('DATA_R')
  async slow(): Promise<string[]> {
    await wait();
    return [];
  }

  @Get('free')
  @Public()
  free(): string[] {
    return [];
  }

  @Get(':id')
  @Requires('DATA_R')
  one(@Param('id') id: string): never {
    throw new ApiError('NOT_FOUND', id);
  }

  @Post()
  @HttpCode(202)
  @Requires('DATA_W')
  async add(@Body() { name }: Thing): Promise<void> {
    if (name === 'slow') await wait();
  }

  @Post('heavy')
  @HttpCode(202)
  @Requires('DATA_W')
  @Limited({ concurrent: 'httpConcurrentHeavy', perMinute: 'bulksPerMinute' })
  async heavy(@Body() { name }: Thing): Promise<void> {
    if (name === 'slow') await wait();
  }
}

const things: Service = {
  name: 'things',
  restPaths: ['/api/v0/things'],
  build: () => ({ controllers: [ThingsController], providers: [], running: [] }),
};

let backend: Backend;
let keys: KeyRing;
let redis: Redis;
/** Two instances behind one address, as it were. */
let platforms: TestPlatform[];
beforeAll(async () => {
  // What an instance holds counts until the end of its leases, also when this process had to wait for its turn.
  backend = await startBackend([things], { ORRERY_LEASE_TTL_MS: '30000' });
  keys = keyRing(await backend.bus());
  platforms = [await backend.boot([things]), await backend.boot([things])];
  redis = new Redis(backend.config.REDIS_URL);
});
afterEach(letGo);
afterAll(async () => {
  redis.disconnect();
  await backend.stop();
});

let calls = 0;
/** Instances take turns. */
const client = (key?: string): ReturnType<typeof apiClient> =>
  apiClient(platforms[calls++ % platforms.length]!.url, key);
const list = (key?: string): Promise<ApiAnswer<unknown>> => client(key).get('/api/v0/things');
const post = (key: string, name = 'x', path = ''): Promise<ApiAnswer<unknown>> =>
  client(key).post(`/api/v0/things${path}`, { name });

/** The limits of the manual. */
const DEFAULT = { limits: {} };
const HEADERS = ['X-RateLimit-Limit', 'X-RateLimit-Remaining', 'X-RateLimit-Reset'];
/** [limit, remaining, reset]; NaN for what is missing. */
const rateOf = ({ headers }: ApiAnswer<unknown>): number[] =>
  HEADERS.map((name) => Number.parseInt(headers.get(name) ?? '', 10));
const none = [Number.NaN, Number.NaN, Number.NaN];

let tenants = 0;
/** A tenant that nothing has been counted of. */
const newTenant = (): string => `tenant-${++tenants}`;
const statuses = (answers: Array<ApiAnswer<unknown>>, status: number): Array<ApiAnswer<unknown>> =>
  answers.filter((answer) => answer.status === status);

describe('rate limits of HTTP', () => {
  it(
    'LIM-001 LIM-002 LIM-003 LIM-004 LIM-036 refuses the 121st call of a key in a minute, in all instances together',
    () =>
      withinWindow(MINUTE, async () => {
        const { value } = keys.grant(newTenant(), DEFAULT);
        const first = await list(value);
        const began = Date.now();
        const [limit, remaining, reset] = rateOf(first);
        expect([first.status, limit, remaining]).toEqual([200, 120, 119]);
        expect(reset! % MINUTE).toBe(0);
        expect(reset! - began).toBeGreaterThan(0);
        expect(reset! - began).toBeLessThanOrEqual(MINUTE);
        for (let i = 118; i >= 0; i--) {
          const answer = await list(value);
          expect([answer.status, ...rateOf(answer)]).toEqual([200, 120, i, reset]);
        }
        // The last of them is refused by what the instance knows, without a question to Redis.
        for (let i = 0; i < 4; i++) {
          const asked = Date.now();
          const refused = await list(value);
          expect([refused.status, ...rateOf(refused)]).toEqual([429, 120, 0, reset]);
          expect([refused.body, refused.headers.get('content-length')]).toEqual([undefined, '0']);
          const retry = 1000 * Number(refused.headers.get('retry-after'));
          expect(retry).toBeGreaterThanOrEqual(reset! - Date.now());
          expect(retry).toBeLessThan(reset! - asked + 1000);
        }
      }),
    300_000,
  );

  it('LIM-005 counts each key for itself, until the window ends', async () => {
    let ended = { key: '', reset: 0 };
    await withinWindow(MINUTE, async () => {
      const limits = { httpPerKeyMinute: 3 };
      const tenant = newTenant();
      const [a, b] = [keys.grant(tenant, { limits }).value, keys.grant(tenant, { limits }).value];
      const other = keys.grant(newTenant(), { limits }).value;
      let last = await list(a);
      for (let i = 0; i < 3; i++) last = await list(a);
      expect(last.status).toBe(429);
      expect((await list(b)).status).toBe(200);
      expect(rateOf(await list(other)).slice(0, 2)).toEqual([3, 2]);
      ended = { key: a, reset: rateOf(last)[2]! };
    });
    await delay(ended.reset - Date.now() + 5);
    const again = await list(ended.key);
    expect([again.status, ...rateOf(again).slice(0, 2)]).toEqual([200, 3, 2]);
  }, 300_000);

  it(
    'LIM-037 refuses the 3601st call of an account in an hour, over several keys',
    () =>
      withinWindow(HOUR, async () => {
        const tenant = newTenant();
        const values = Array.from({ length: 40 }, () => keys.grant(tenant, DEFAULT).value);
        let answered = 0;
        // 40 at a time: more than 80 reads of an account are refused for another reason.
        await Promise.all(
          values.map(async (value) => {
            for (let i = 0; i < 90; i++) if ((await list(value)).status === 200) answered++;
          }),
        );
        expect(answered).toBe(3600);
        const last = await list(values[0]);
        const reset = Math.ceil(Date.now() / HOUR) * HOUR;
        expect([last.status, last.body, ...rateOf(last)]).toEqual([429, undefined, 3600, 0, reset]);
        expect(Number(last.headers.get('retry-after'))).toBeGreaterThanOrEqual(Math.floor((reset - Date.now()) / 1000));
        expect((await list(keys.grant(newTenant(), DEFAULT).value)).status).toBe(200);
      }),
    600_000,
  );

  it(
    'counts what is refused for the key nowhere, and what is refused for the account not for the key',
    () =>
      withinWindow(MINUTE, async () => {
        const limits = { httpPerKeyMinute: 2, httpPerAccountHour: 3 };
        const tenant = newTenant();
        const [a, b] = [keys.grant(tenant, { limits }).value, keys.grant(tenant, { limits }).value];
        const ofA = [];
        for (let i = 0; i < 6; i++) ofA.push((await list(a)).status);
        expect(ofA).toEqual([200, 200, 429, 429, 429, 429]);
        expect(rateOf(await list(b)).slice(0, 2)).toEqual([2, 1]);
        const refused = await list(b);
        expect([refused.status, ...rateOf(refused).slice(0, 2)]).toEqual([429, 3, 0]);
        // The key itself has one call left.
        keys.change(b, { limits: { ...limits, httpPerAccountHour: null } });
        await eventually(async () => (await list(b)).status === 200);
        expect((await list(b)).status).toBe(429);
      }),
    300_000,
  );

  it(
    'shows the window of the account where keys are not limited',
    () =>
      withinWindow(HOUR, async () => {
        const { value } = keys.grant(newTenant(), { limits: { httpPerKeyMinute: null, httpPerAccountHour: 10 } });
        const answer = await list(value);
        expect([answer.status, ...rateOf(answer)]).toEqual([200, 10, 9, Math.ceil(Date.now() / HOUR) * HOUR]);
      }),
    300_000,
  );

  it('LIM-007 says nothing of rates without a usable key, and in every other answer to a usable one', async () => {
    const expired = keys.grant('default-tenant', { ...DEFAULT, to: Date.now() - 1000 });
    const fifos = keys.grant('default-tenant', { ...DEFAULT, fifos: ['f'] });
    for (const [key, status] of [
      [undefined, 403],
      ['unknown-key-0123456789', 403],
      [expired.value, 401],
      [fifos.value, 403],
    ] as const) {
      const answer = await list(key);
      expect([answer.status, ...rateOf(answer)]).toEqual([status, ...none]);
    }
    const free = await client().get('/api/v0/things/free');
    expect([free.status, ...rateOf(free)]).toEqual([200, ...none]);

    const { value } = keys.grant('erring', DEFAULT);
    const roleless = keys.grant('erring', { ...DEFAULT, roles: [] });
    for (const [answer, status] of [
      [await client(value).get('/api/v0/nothing'), 404],
      [await client(value).delete('/api/v9/nothing/at/all?x=y'), 404],
      [await client(value).get('/api/v0/things/unknown'), 404],
      [await client(value).get('/api/v0/things', { accept: 'text/html' }), 406],
      [await client(value).post('/api/v0/things', { name: 1 }), 400],
      [await client(value).post('/api/v0/things', '{'), 400],
      [await list(roleless.value), 403],
    ] as const) {
      expect(answer.status).toBe(status);
      expect(rateOf(answer)[0]).toBe(120);
    }
  });

  it(
    'looks at rates before roles, parameters and existence',
    () =>
      withinWindow(MINUTE, async () => {
        const { value } = keys.grant(newTenant(), { roles: [], limits: { httpPerKeyMinute: 1 } });
        expect((await client(value).post('/api/v0/things', '{')).status).toBe(403);
        for (const answer of [
          await client(value).post('/api/v0/things', '{'),
          await client(value).get('/api/v0/things/unknown'),
          await client(value).get('/api/v0/things', { accept: 'text/html' }),
        ])
          expect([answer.status, answer.body]).toEqual([429, undefined]);
      }),
    300_000,
  );

  it(
    'asks Redis nothing for an account whose HTTP is not limited, and once for a limited one',
    () =>
      withinWindow(MINUTE, async () => {
        const free = keys.grant(newTenant(), {
          limits: limitsOf(newSettings({ http: { rateLimiting: false } })),
        }).value;
        const limited = keys.grant(newTenant(), DEFAULT).value;
        const questions = async (): Promise<number> =>
          Number(/cmdstat_evalsha:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1] ?? 0);
        // What earlier requests held is given back after their answers.
        const before = await eventually(async () => {
          const asked = await questions();
          await delay(200);
          return asked === (await questions()) && asked;
        });
        for (let i = 0; i < 200; i++) {
          const answer = await (i % 4 === 0 ? post(free, 'x', '/heavy') : i % 2 ? list(free) : post(free));
          expect([answer.status < 300, ...rateOf(answer)]).toEqual([true, ...none]);
        }
        expect(await questions()).toBe(before);
        for (let i = 0; i < 10; i++) expect((await post(limited)).status).toBe(202);
        expect(await questions()).toBe(before + 10);
      }),
    300_000,
  );

  it('answers while Redis does not, with each instance counting for itself', async () => {
    const hasty = { ORRERY_LIMITS_WAIT_MS: 1000 };
    const [one, other] = [
      await backend.boot([things], undefined, hasty),
      await backend.boot([things], undefined, hasty),
    ];
    const pid = Number(/process_id:(\d+)/.exec(await redis.info('server'))?.[1]);
    const ask = (at: TestPlatform, key: string): Promise<ApiAnswer<unknown>> =>
      apiClient(at.url, key).get('/api/v0/things');
    await withinWindow(MINUTE, async () => {
      const { value } = keys.grant(newTenant(), { limits: { httpPerKeyMinute: 5 } });
      await ask(one, value);
      await ask(other, value);
      process.kill(pid, 'SIGSTOP');
      const answers: Array<ApiAnswer<unknown>> = [];
      try {
        for (let i = 0; i < 10; i++) answers.push(await ask(one, value), await ask(other, value));
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      // One instance knew of one call, the other of two.
      expect(statuses(answers, 200)).toHaveLength(4 + 3);
      expect(statuses(answers, 429)).toHaveLength(13);
      expect(answers.every((answer) => rateOf(answer)[0] === 5)).toBe(true);
      // Both count together again.
      await eventually(async () => {
        const fresh = keys.grant(newTenant(), DEFAULT).value;
        await ask(one, fresh);
        return rateOf(await ask(other, fresh))[1] === 118;
      });
      expect((await ask(one, value)).status).toBe(429);
    });
    for (const platform of [one, other]) await platform.close();
  }, 300_000);
});

describe('concurrent requests of an account', () => {
  const limits = { ...UNLIMITED_OFFER, httpConcurrentReads: 80, httpConcurrentHeavy: 5, bulksPerMinute: 1000 };
  const slow = (key: string, signal?: AbortSignal): Promise<Response> =>
    fetch(`${platforms[calls++ % 2]!.url}/api/v0/things/slow`, {
      headers: { 'x-api-key': key },
      // One that should have been refused would wait for ever.
      signal: signal ?? AbortSignal.timeout(60_000),
    });
  const arrived = (count: number): Promise<boolean> => eventually(() => waiting.length === count);

  it('LIM-038 refuses the 81st read at once, and takes further ones when some are done', async () => {
    const [value, second] = [keys.grant('readers', DEFAULT).value, keys.grant('readers', DEFAULT).value];
    const held = Array.from({ length: 80 }, () => slow(value));
    await arrived(80);
    for (const key of [value, second]) {
      const refused = await slow(key);
      expect([refused.status, await refused.text(), refused.headers.get('retry-after')]).toEqual([429, '', '1']);
      expect(refused.headers.get('x-ratelimit-limit')).toBe('120');
    }
    // Writes are not reads, and another account is another account.
    expect((await post(second)).status).toBe(202);
    expect((await list(keys.grant('other-readers', DEFAULT).value)).status).toBe(200);
    letGo();
    expect((await Promise.all(held)).map(({ status }) => status)).toEqual(Array.from({ length: 80 }, () => 200));
    expect((await Promise.all(Array.from({ length: 80 }, () => list(second)))).every((a) => a.status === 200)).toBe(
      true,
    );
  }, 300_000);

  it('takes a place back from a client that goes away, and from requests that fail', async () => {
    const { value } = keys.grant('leavers', { limits });
    const gone = new AbortController();
    const held = Array.from({ length: 80 }, () => slow(value, gone.signal));
    const ended = Promise.allSettled(held);
    await arrived(80);
    expect((await list(value)).status).toBe(429);
    gone.abort();
    await ended;
    await eventually(async () => (await list(value)).status === 200);
    waiting = [];
    for (let round = 0; round < 3; round++)
      await Promise.all(Array.from({ length: 60 }, () => client(value).get('/api/v0/things/unknown')));
    const again = Array.from({ length: 80 }, () => slow(value));
    await arrived(80);
    expect((await list(value)).status).toBe(429);
    letGo();
    await Promise.all(again);
  });

  it('refuses the sixth heavy request, whatever else the account does', async () => {
    const { value } = keys.grant('heavies', { limits });
    const held = Array.from({ length: 5 }, () => post(value, 'slow', '/heavy'));
    await arrived(5);
    const refused = await post(value, 'x', '/heavy');
    expect([refused.status, refused.body, refused.headers.get('retry-after')]).toEqual([429, undefined, '1']);
    expect((await list(value)).status).toBe(200);
    const others = Array.from({ length: 100 }, () => post(value, 'slow'));
    await arrived(105);
    letGo();
    for (const { status } of await Promise.all([...held, ...others])) expect(status).toBe(202);
    expect((await post(value, 'x', '/heavy')).status).toBe(202);
  });

  it('frees the places of an instance that ends', async () => {
    const { value } = keys.grant('survivors', { limits });
    const ending = await backend.boot([things]);
    const gone = new AbortController();
    const held = Array.from({ length: 5 }, () =>
      fetch(`${ending.url}/api/v0/things/heavy`, {
        method: 'POST',
        headers: { 'x-api-key': value, 'content-type': 'application/json' },
        body: '{"name":"slow"}',
        signal: gone.signal,
      }),
    );
    const ended = Promise.allSettled(held);
    await arrived(5);
    expect((await post(value, 'x', '/heavy')).status).toBe(429);
    const closing = ending.close();
    gone.abort();
    await ended;
    letGo();
    await closing;
    await eventually(async () => (await post(value, 'x', '/heavy')).status === 202);
  });
});
