import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startElasticsearch } from '../../../../tools/services/elasticsearch.mjs';
import { elasticsearchClient } from '../elasticsearch/client.js';

/** An engine that tests run on. */
export interface TestedEngine {
  name: 'embedded' | 'Elasticsearch';
  /** What the search service needs to use it. */
  env: NodeJS.ProcessEnv;
  stop(): Promise<void>;
}

const EMBEDDED: TestedEngine = { name: 'embedded', env: {}, stop: async () => undefined };

/** A real Elasticsearch with indices of one's own; undefined, and a line that says why, where none can be had. */
export async function testedElasticsearch(): Promise<TestedEngine | undefined> {
  const dataDir = await mkdtemp(join(tmpdir(), 'orrery-elasticsearch-'));
  const log = (line: string): void => void process.stderr.write(`${line}\n`);
  const started = await startElasticsearch({ dataDir, log, brief: true });
  if (!started) {
    await rm(dataDir, { recursive: true, force: true });
    return undefined;
  }
  const index = `test-${randomBytes(6).toString('hex')}`;
  return {
    name: 'Elasticsearch',
    env: { ELASTICSEARCH_URL: started.url, ORRERY_SEARCH_INDEX: index },
    async stop() {
      // It may be one that stays. By name: newer versions remove none by pattern.
      const client = elasticsearchClient(started.url);
      const request = { method: 'GET', path: `/${index}-*`, querystring: { filter_path: '*.settings.index.uuid' } };
      const found = (await client.transport.request(request)) as unknown as object;
      for (const name of Object.keys(found)) await client.transport.request({ method: 'DELETE', path: `/${name}` });
      await client.close();
      await started.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Both engines, or the embedded one where there is no Elasticsearch. */
export async function testedEngines(): Promise<TestedEngine[]> {
  const elasticsearch = await testedElasticsearch();
  return elasticsearch ? [EMBEDDED, elasticsearch] : [EMBEDDED];
}
