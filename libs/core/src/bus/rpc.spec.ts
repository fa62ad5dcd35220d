import { Database, type Schema } from '../database/index.js';
import { ApiError } from '../http/index.js';
import { type Backend, startBackend } from '../testing/index.js';
import { type Bus, callRpc, defineRpc, RpcError, serveRpc } from './index.js';

const schema: Schema = { name: 'answers', entities: [], migrations: [] };
const ask = defineRpc<{ sql?: string }, Record<string, never>>('test', 'ask');
let backend: Backend;
let bus: Bus;
let database: Database;

beforeAll(async () => {
  backend = await startBackend([
    { name: 'answers', schema, restPaths: [], build: () => ({ controllers: [], providers: [], running: [] }) },
  ]);
  bus = await backend.bus();
  database = await Database.connect({ url: backend.config.DATABASE_URL, schema });
  serveRpc(bus, ask, async ({ sql }) => {
    if (sql === undefined) throw new ApiError('NOT_FOUND', 'no FIFO "f"');
    await database.query(sql);
    return {};
  });
});
afterAll(async () => {
  await database.close();
  await backend.stop();
});

const failure = async (sql?: string): Promise<unknown> =>
  callRpc(bus, ask, sql === undefined ? {} : { sql }).then(
    () => undefined,
    (error: unknown) => error,
  );

describe('a request of another service', () => {
  it('is answered with the errors of the registry as they are', async () => {
    const error = await failure();
    expect(error).toBeInstanceOf(RpcError);
    expect(error).toMatchObject({ code: 'NOT_FOUND', message: 'Not found', details: 'no FIFO "f"' });
  });

  it.each(["SELECT 'secret'::int", 'SELECT 1/0', "DO $$ BEGIN RAISE 'ended' USING ERRCODE = '57P01'; END $$"])(
    'that fails by itself tells nothing of the inside, nor passes for a decision: %s',
    async (sql) => {
      const error = (await failure(sql)) as RpcError;
      expect({ code: error.code, message: error.message, details: error.details }).toEqual({
        code: 'INTERNAL_ERROR',
        message: 'internal error',
      });
    },
  );
});
