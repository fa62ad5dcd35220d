import { type Bus, PartitionReader } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { SEARCH_READER } from '../contract.js';
import { documentOf } from './documents.js';
import type { Indexer } from './indexer.js';

/** Together in one request to the engine, and few requests when much arrives. */
const LINGER_MS = 50;

/**
 * Indexes what arrives on READY, and the events that are stored. The index is written before the position moves and a
 * document twice is the same as once, so that nothing is missing after a crash; while the engine is away this reader waits,
 * and nobody else.
 */
export const messagesReader = (bus: Bus, database: Database, indexer: Indexer): PartitionReader =>
  new PartitionReader(bus, {
    name: SEARCH_READER,
    streams: ['READY', 'EVENTS'],
    database,
    lingerMs: LINGER_MS,
    async handle(items, manager) {
      const documents = items.map(documentOf).filter((document) => document !== undefined);
      // PostgreSQL ends transactions that are silent for long: it hears that this process lives and waits for the engine.
      let heard: Promise<unknown> = Promise.resolve();
      const alive = setInterval(
        () => (heard = manager.query('SELECT 1').catch(() => undefined)),
        (database.options.idleTransactionMs ?? 10_000) / 3,
      );
      try {
        await indexer.index(documents);
      } finally {
        clearInterval(alive);
        await heard;
      }
    },
  });
