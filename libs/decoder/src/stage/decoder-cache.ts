import type { Database } from '@orrery/core/database';
import { LRUCache } from 'lru-cache';
import type { EntityManager } from 'typeorm';
import { type CompiledDecoder, compileDecoder, DefinitionFault } from '../decoders/compiled-decoder.js';
import { Decoder } from '../decoders/decoder.entity.js';
import { PUBLIC } from '../decoders/decoders.service.js';

/** A decoder of a tenant, or a public one, ready to run. */
export interface UsableDecoder {
  encoding: string;
  enabled: boolean;
  model: string | null;
  /** See `DecodingJob`. */
  key: string;
  /** Why it does not compile any more, when it does not. */
  compiled: CompiledDecoder | DefinitionFault;
}

/** Finds decoders by what a message says. */
export type FindDecoder = (tenantId: string, encoding: string) => Promise<UsableDecoder | undefined>;

/** Decoders in memory, of all tenants, and the characters of what they were compiled of. */
const MAX_DECODERS = 10_000;
const MAX_CHARACTERS = 64 << 20;

/**
 * The decoders in use, compiled once per version. Versions are read in the transaction of each batch, so that a change is
 * in force for every message that is handled after its answer, on every instance.
 */
export class DecoderCache {
  /** By version, owner and encoding. */
  private readonly decoders: LRUCache<string, Loaded>;

  constructor(database: Database) {
    this.decoders = new LRUCache({
      max: MAX_DECODERS,
      maxSize: MAX_CHARACTERS,
      sizeCalculation: ({ characters }) => characters,
      fetchMethod: (key) => {
        const [, owner, encoding] = /^\d+ (\S+) (.*)$/s.exec(key)!;
        return load(database.manager, owner!, encoding!);
      },
    });
  }

  /** A tenant's own decoder goes before a public one of the same encoding, even when it is disabled. */
  async of(manager: EntityManager, tenantIds: Iterable<string>): Promise<FindDecoder> {
    const rows = (await manager.query(
      'SELECT tenant_id, version FROM decoder_versions WHERE tenant_id = ANY($1::text[])',
      [[...tenantIds, PUBLIC]],
    )) as Array<{ tenant_id: string; version: string }>;
    const versions = new Map(rows.map((row) => [row.tenant_id, row.version]));
    return async (tenantId, encoding) => {
      for (const owner of [tenantId, PUBLIC]) {
        const version = versions.get(owner);
        if (version === undefined) continue;
        const key = `${version} ${owner} ${encoding}`;
        const { decoder } = this.decoders.get(key) ?? (await this.decoders.forceFetch(key));
        if (decoder) return decoder.enabled ? decoder : undefined;
      }
      return undefined;
    };
  }
}

interface Loaded {
  decoder?: UsableDecoder;
  characters: number;
}

async function load(manager: EntityManager, owner: string, encoding: string): Promise<Loaded> {
  // PostgreSQL has no notation for it, and no decoder the name.
  const row = encoding.includes('\0') ? null : await manager.findOneBy(Decoder, { tenantId: owner, encoding });
  if (!row) return { characters: 1 };
  const { enabled, model, kind, definition, template } = row;
  return {
    decoder: { encoding, enabled, model, key: `${row.id} ${row.revision}`, compiled: compiled() },
    characters: JSON.stringify(definition).length + (template?.length ?? 0),
  };

  function compiled(): CompiledDecoder | DefinitionFault {
    try {
      return compileDecoder(kind, definition, template);
    } catch (error) {
      // It did when it was created: what is accepted has changed since.
      if (error instanceof DefinitionFault) return error;
      throw error;
    }
  }
}
