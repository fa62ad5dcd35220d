import { randomUUID } from 'node:crypto';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { writeStageFilters } from '@orrery/core/ingestion';
import { limitOf, type LimitName } from '@orrery/core/limits';
import type { EntityManager } from 'typeorm';
import { DecodingError, DefinitionError } from '../decoding.js';
import type { JavaScriptRunner } from '../javascript/javascript-runner.js';
import { compileDecoder, DefinitionFault } from './compiled-decoder.js';
import {
  type DecoderDocument,
  type DecoderTest,
  type Definition,
  definitionField,
  type Kind,
} from './decoder-document.js';
import { Decoder } from './decoder.entity.js';
import type { DecodingEngine, Outcome } from './decoding-engine.js';

/** Owner of the decoders that every tenant can use. */
export const PUBLIC = 'public';

/** The manual has public decoders, and nobody who makes them: those of the administrator are public. */
export const ownerOf = ({ accountType, tenantId }: ApiKeyIdentity): string =>
  accountType === 'ADMIN' ? PUBLIC : tenantId;

const LIMIT_OF: Record<Kind, LimitName> = {
  binary: 'binaryDecoders',
  csv: 'csvDecoders',
  javascript: 'javascriptDecoders',
  'javascript-split': 'javascriptSplitDecoders',
};

/** What a test of a decoder answers (manual 11.3.2.1.4). */
export interface TestResult {
  descriptionValid: boolean;
  parsingOk: boolean;
  /** An array for split decoders. */
  decodingResult?: unknown;
  decodingFailureReason?: string;
}

/** Decoders as their tenant configures them (manual 11.3). */
export class DecodersService {
  constructor(
    private readonly database: Database,
    private readonly scripts: JavaScriptRunner,
    private readonly engine: DecodingEngine,
  ) {}

  /** @param tags only those with all of these. */
  list(owner: string, kind: Kind | undefined, tags: readonly string[]): Promise<Decoder[]> {
    const query = this.database.manager
      .createQueryBuilder(Decoder, 'd')
      .where('d.tenantId = :owner AND d.tags @> :tags::text[]', { owner, tags })
      .orderBy('d.created')
      .addOrderBy('d.id');
    if (kind) query.andWhere('d.kind = :kind', { kind });
    return query.getMany();
  }

  get(owner: string, kind: Kind, id: string): Promise<Decoder> {
    return this.find(this.database.manager, owner, kind, id);
  }

  async create(key: ApiKeyIdentity, kind: Kind, document: DecoderDocument): Promise<Decoder> {
    const owner = ownerOf(key);
    await this.check(owner, kind, document);
    return this.change(owner, async (manager) => {
      const max = limitOf(key.limits, LIMIT_OF[kind]);
      if ((await manager.countBy(Decoder, { tenantId: owner, kind })) >= max)
        throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', `at most ${max} decoders of type ${kind}`);
      await this.checkUnused(manager, owner, document.encoding);
      const now = new Date();
      const decoder = manager.create(Decoder, {
        ...fieldsOf(document),
        tenantId: owner,
        id: randomUUID(),
        kind,
        revision: 1,
        created: now,
        updated: now,
      });
      await manager.insert(Decoder, decoder);
      return decoder;
    });
  }

  async update(owner: string, kind: Kind, id: string, document: DecoderDocument): Promise<Decoder> {
    if (document.id !== undefined && document.id !== id) throw invalidParameter('id', 'the id of the path, or no id');
    await this.check(owner, kind, document);
    return this.change(owner, async (manager) => {
      const decoder = await this.find(manager, owner, kind, id);
      if (document.encoding !== decoder.encoding) await this.checkUnused(manager, owner, document.encoding);
      return this.save(manager, decoder, fieldsOf(document));
    });
  }

  async enable(owner: string, kind: Kind, id: string, enabled: boolean): Promise<void> {
    await this.change(owner, async (manager) =>
      this.save(manager, await this.find(manager, owner, kind, id), { enabled }),
    );
  }

  async delete(owner: string, kind: Kind, id: string): Promise<void> {
    await this.change(owner, async (manager) => {
      const { affected } = await manager.delete(Decoder, { tenantId: owner, kind, id });
      if (!affected) throw unknown(kind, id);
    });
  }

  /** Tries a decoder that need not exist, as messages are decoded. */
  async test(
    tenantId: string,
    kind: Kind,
    { definition, problem, template, payload }: DecoderTest,
  ): Promise<TestResult> {
    const invalid = (reason: string): TestResult => ({
      parsingOk: false,
      descriptionValid: false,
      decodingFailureReason: reason,
    });
    if (problem !== undefined) return invalid(problem);
    let outcome: Outcome;
    try {
      const decoder = await this.compile(tenantId, kind, definition, template);
      // A key of its own: what a test leaves behind in the sandbox is nobody else's.
      const job = { decoder, tenantId, key: randomUUID(), payload, stored: false };
      outcome = (await this.engine.decode([job]))[0]!;
    } catch (error) {
      if (error instanceof DefinitionFault) return invalid(`${error.field}: ${error.message}`);
      throw error;
    }
    if (outcome instanceof DecodingError)
      return { parsingOk: false, descriptionValid: true, decodingFailureReason: outcome.message };
    return {
      parsingOk: true,
      decodingResult:
        kind === 'javascript-split'
          ? outcome.map(({ fields, timestamp }) => ({ value: fields, ...(timestamp ? { timestamp } : {}) }))
          : outcome[0]!.fields,
      descriptionValid: true,
    };
  }

  private async compile(tenantId: string, kind: Kind, definition: Definition, template: string | null) {
    const compiled = compileDecoder(kind, definition, template);
    if (compiled.script !== undefined)
      await this.scripts.check(compiled.script, tenantId).catch((error: unknown) => {
        throw error instanceof DefinitionError ? new DefinitionFault(definitionField(kind), error) : error;
      });
    return compiled;
  }

  private async check(owner: string, kind: Kind, { definition, template }: DecoderDocument): Promise<void> {
    try {
      await this.compile(owner, kind, definition, template);
    } catch (error) {
      if (error instanceof DefinitionFault) throw invalidParameter(error.field, error.message);
      throw error;
    }
  }

  /**
   * Changes the decoders of an owner, one at a time. Whoever reads the version in a transaction that begins after this one
   * sees the change; connectors hear of new encodings within milliseconds.
   */
  private change<Result>(owner: string, work: (manager: EntityManager) => Promise<Result>): Promise<Result> {
    return this.database.transaction(async (manager) => {
      await manager.query(
        `INSERT INTO decoder_versions AS v (tenant_id, version) VALUES ($1, 1)
         ON CONFLICT (tenant_id) DO UPDATE SET version = v.version + 1`,
        [owner],
      );
      const result = await work(manager);
      // Disabled decoders too: when one is enabled again, its next message is decoded, and keeps its place in the order.
      const rows = (await manager.query('SELECT encoding FROM decoders WHERE tenant_id = $1 ORDER BY encoding', [
        owner,
      ])) as Array<{ encoding: string }>;
      const encodings = rows.map(({ encoding }) => encoding);
      await writeStageFilters(manager, 'DECODE', owner, encodings.length > 0 ? [{ encodings }] : []);
      return result;
    });
  }

  private async save(
    manager: EntityManager,
    decoder: Decoder,
    change: Partial<ReturnType<typeof fieldsOf>>,
  ): Promise<Decoder> {
    Object.assign(decoder, change, { revision: decoder.revision + 1, updated: new Date() });
    const { tenantId, id, ...columns } = decoder;
    await manager.update(Decoder, { tenantId, id }, columns);
    return decoder;
  }

  private async checkUnused(manager: EntityManager, owner: string, encoding: string): Promise<void> {
    const other = await manager.findOneBy(Decoder, { tenantId: owner, encoding });
    if (other)
      throw new ApiError('CONFLICT', `the ${other.kind} decoder ${other.id} has the encoding "${encoding}" already`);
  }

  private async find(manager: EntityManager, owner: string, kind: Kind, id: string): Promise<Decoder> {
    const decoder = await manager.findOneBy(Decoder, { tenantId: owner, kind, id });
    if (!decoder) throw unknown(kind, id);
    return decoder;
  }
}

const unknown = (kind: Kind, id: string): ApiError => new ApiError('NOT_FOUND', `no ${kind} decoder ${id}`);

const fieldsOf = ({ encoding, enabled, definition, template, model, tags }: DecoderDocument) => ({
  encoding,
  enabled,
  definition,
  template,
  model,
  tags,
});
