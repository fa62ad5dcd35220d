import { decoder } from '@orrery/decoder';
import type { DataMessage } from '@orrery/core/messages';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import { store } from '@orrery/store';
import { search } from '../index.js';

describe('indexing of decoded messages', () => {
  let backend: Backend;
  let api: ApiClient;
  const services = [store, search, decoder];

  beforeAll(async () => {
    backend = await startBackend(services);
    const keys = keyRing(await backend.bus());
    api = apiClient((await backend.boot(services)).url, keys.grant('decoded').value);
  });
  afterAll(() => backend.stop());

  const define = async (encoding: string, format: string, model?: string): Promise<string> => {
    const decoding = { encoding, format, enabled: true, ...(model === undefined ? {} : { model }) };
    const answer = await api.post<{ id: string }>('/api/v0/decoders/binary', decoding);
    expect(answer.status).toBe(201);
    return answer.body.id;
  };
  /** Sends a payload until it comes back decoded: a new decoder is known a moment later. */
  const sendDecoded = (streamId: string, encoding: string, payload: string, value: object): Promise<DataMessage> =>
    eventually(async () => {
      const sent = await api.post<{ id: string }>(`/api/v0/data/streams/${streamId}`, {
        value: { payload },
        metadata: { encoding },
      });
      expect(sent.status).toBe(202);
      const message = await eventually(async () => {
        const { body } = await api.get<DataMessage[]>(`/api/v0/data/streams/${streamId}`);
        return body.find(({ id }) => id === sent.body.id);
      });
      expect(message.value).toMatchObject(value);
      return message;
    });
  const found = async (query: object): Promise<string[]> => {
    const { status, body } = await api.post<DataMessage[]>('/api/v1/data/search/hits', { query, size: 100 });
    expect(status).toBe(200);
    return body.map(({ id }) => id);
  };

  it('IDX-001 finds a message without model by its other fields only, also one that was decoded', async () => {
    const sent = await api.post<{ id: string }>('/api/v0/data/streams/s1', { value: { temp: 24.1 } });
    await define('plain', 'int temp;');
    const decoded = await sendDecoded('s2', 'plain', '00000018', { temp: 24 });
    for (const [streamId, id] of [
      ['s1', sent.body.id],
      ['s2', decoded.id],
    ] as const) {
      await eventually(async () => (await found({ term: { streamId } })).includes(id));
      for (const field of ['value.temp', '@anything.value.temp', '@.value.temp'])
        expect(await found({ range: { [field]: { gte: 1 } } })).toEqual([]);
    }
  });

  it("IDX-011 finds decoded fields by the decoder's model", async () => {
    await define('thermometer', 'int temperature;', 't1');
    const message = await sendDecoded('s3', 'thermometer', '000000DD', { temperature: 221 });
    await eventually(async () => (await found({ term: { '@t1.value.temperature': 221 } })).includes(message.id));
  });

  it('IDX-005 takes a field whose type has changed for a conflict, which a new model resolves', async () => {
    await define('first', 'utf8[4] field1; int field2;', 'my_model_v0');
    await define('second', 'float field1; int field2;', 'my_model_v0');
    await define('third', 'float field1; int field2;', 'my_model_v1');
    const text = await sendDecoded('s4', 'first', '6162636400000001', { field1: 'abcd', field2: 1 });
    const conflict = await sendDecoded('s4', 'second', '3fc0000000000002', { field1: 1.5, field2: 2 });
    const resolved = await sendDecoded('s4', 'third', '3fc0000000000003', { field1: 1.5, field2: 3 });
    const range = { range: { '@my_model_v1.value.field1': { gte: 1, lt: 2 } } };
    await eventually(async () => (await found(range)).includes(resolved.id));
    await eventually(async () => (await found({ ids: { values: [text.id] } })).length === 1);
    expect(await found({ ids: { values: [conflict.id] } })).toEqual([]);
  });
});
