import { controlSubject } from '@orrery/core/bus';
import { type Database, writeOutbox } from '@orrery/core/database';
import { ApiError, type PageV0, pageV0 } from '@orrery/core/http';
import { type LimitValues, limitOf } from '@orrery/core/limits';
import type { EntityManager } from 'typeorm';
import type { ActionPoliciesService } from '../action-policies/action-policies.service.js';
import { FIFO_CONTROL, type FifoChange, fifoPartition } from '../contract.js';
import {
  type CreateFifoDto,
  DEFAULT_MAX_LENGTH_BYTES,
  type FifoDto,
  MAX_MESSAGE_TTL,
  type UpdateFifoDto,
} from './fifo.dto.js';
import { Fifo } from './fifo.entity.js';
import { dropOldest, type FifoWake, keptSeconds } from './queue.js';
import type { Wakes } from './wakes.js';

/** FIFOs as their tenant configures them (manual 16.2.1.3). */
export class FifosService {
  constructor(
    private readonly database: Database,
    private readonly policies: ActionPoliciesService,
    private readonly wakes: Wakes,
    private readonly partitions: number,
  ) {}

  async list(tenantId: string, paging: { size: number; page: number }): Promise<PageV0<FifoDto>> {
    const [fifos, total] = await this.database.manager.findAndCount(Fifo, {
      where: { tenantId },
      order: { name: 'ASC' },
      take: paging.size,
      skip: paging.page * paging.size,
    });
    return pageV0(paging, total, fifos.map(toDto));
  }

  async get(tenantId: string, name: string): Promise<FifoDto> {
    return toDto(await this.find(this.database.manager, tenantId, name));
  }

  create(tenantId: string, limits: LimitValues, dto: CreateFifoDto): Promise<FifoDto> {
    const { name, maxLengthBytes, messageTtl } = dto;
    return this.database.transaction(async (manager) => {
      await this.lockQuota(manager, tenantId);
      if (await manager.existsBy(Fifo, { tenantId, name })) throw new ApiError('CONFLICT', `a FIFO "${name}" exists`);
      const fifo = manager.create(Fifo, {
        tenantId,
        name,
        partition: fifoPartition(tenantId, name, this.partitions),
        maxLengthBytes: maxLengthBytes ?? DEFAULT_MAX_LENGTH_BYTES,
        messageTtl: messageTtl ?? MAX_MESSAGE_TTL,
      });
      await this.checkQuota(manager, tenantId, limits, { fifos: 1, bytes: fifo.maxLengthBytes });
      await manager.insert(Fifo, fifo);
      return toDto(await this.find(manager, tenantId, name));
    });
  }

  async update(tenantId: string, name: string, limits: LimitValues, dto: UpdateFifoDto): Promise<FifoDto> {
    let dropped: (FifoWake & { partition: number }) | undefined;
    const updated = await this.database.transaction(async (manager) => {
      await this.lockQuota(manager, tenantId);
      const fifo = await this.find(manager, tenantId, name, true);
      const maxLengthBytes = dto.maxLengthBytes ?? fifo.maxLengthBytes;
      const messageTtl = dto.messageTtl ?? fifo.messageTtl;
      if (maxLengthBytes > fifo.maxLengthBytes)
        await this.checkQuota(manager, tenantId, limits, { fifos: 0, bytes: maxLengthBytes - fifo.maxLengthBytes });
      await manager.update(Fifo, { tenantId, name }, { maxLengthBytes, messageTtl });
      let gone = { messages: 0, bytes: 0, last: 0 };
      if (messageTtl === 0 && fifo.consumers === 0) {
        gone = { messages: fifo.messages, bytes: fifo.bytes, last: 0 };
        await manager.query('DELETE FROM fifo_messages WHERE fifo_id = $1', [fifo.id]);
      } else {
        if (fifo.bytes > maxLengthBytes) gone = await dropOldest(manager, fifo.id, fifo.bytes - maxLengthBytes);
        // Messages that wait follow the new time, counted from their arrival.
        if (messageTtl !== fifo.messageTtl)
          await manager.query(
            `UPDATE fifo_messages SET expires = expires + make_interval(secs => $2) WHERE fifo_id = $1`,
            [fifo.id, keptSeconds(messageTtl) - keptSeconds(fifo.messageTtl)],
          );
      }
      if (gone.messages > 0)
        await manager.query('UPDATE fifos SET messages = messages - $2, bytes = bytes - $3 WHERE id = $1', [
          fifo.id,
          gone.messages,
          gone.bytes,
        ]);
      dropped = { id: fifo.id, partition: fifo.partition, droppedTo: gone.last };
      return toDto(await this.find(manager, tenantId, name));
    });
    if (dropped?.droppedTo) this.wakes.send(new Map([[dropped.partition, [dropped]]]));
    return updated;
  }

  /** Discards its messages, ends its subscriptions and suspends the policies that publish to it (FIF-015). */
  async delete(tenantId: string, name: string): Promise<void> {
    const { id, partition } = await this.database.transaction(async (manager) => {
      const fifo = await this.find(manager, tenantId, name, true);
      const { id } = fifo;
      await manager.delete(Fifo, { tenantId, name });
      await manager.query('DELETE FROM fifo_messages WHERE fifo_id = $1', [id]);
      await this.policies.suspend(manager, tenantId, [name], `The FIFO "${name}" has been deleted`);
      const change: FifoChange = { tenantId, fifoId: id, fifoName: name, change: 'deleted' };
      await writeOutbox(manager, [
        { subject: controlSubject(FIFO_CONTROL), header: JSON.stringify(change), body: '{}' },
      ]);
      return fifo;
    });
    // Its subscriptions end a little later.
    this.wakes.send(new Map([[partition, [{ id, droppedTo: Number.MAX_SAFE_INTEGER }]]]));
  }

  private async find(manager: EntityManager, tenantId: string, name: string, lock = false): Promise<Fifo> {
    const fifo = await manager.findOne(Fifo, {
      where: { tenantId, name },
      ...(lock ? { lock: { mode: 'pessimistic_write' as const } } : {}),
    });
    if (!fifo) throw new ApiError('NOT_FOUND', `no FIFO "${name}"`);
    return fifo;
  }

  // One change of a tenant's quota at a time.
  private async lockQuota(manager: EntityManager, tenantId: string): Promise<void> {
    await manager.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`fifos/${tenantId}`]);
  }

  /** @throws GENERIC_QUOTA_EXCEEDED_ERROR (LIM-041, LIM-042) */
  private async checkQuota(
    manager: EntityManager,
    tenantId: string,
    limits: LimitValues,
    more: { fifos: number; bytes: number },
  ): Promise<void> {
    const [used] = (await manager.query(
      'SELECT count(*) AS fifos, coalesce(sum(max_length_bytes), 0) AS bytes FROM fifos WHERE tenant_id = $1',
      [tenantId],
    )) as Array<{ fifos: string; bytes: string }>;
    const maxFifos = limitOf(limits, 'fifos');
    if (Number(used!.fifos) + more.fifos > maxFifos)
      throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', `at most ${maxFifos} FIFOs`);
    const maxBytes = limitOf(limits, 'fifoBytes');
    if (Number(used!.bytes) + more.bytes > maxBytes)
      throw new ApiError(
        'GENERIC_QUOTA_EXCEEDED_ERROR',
        `at most ${maxBytes} bytes of all FIFOs together; ${used!.bytes} are taken`,
      );
  }
}

const toDto = (fifo: Fifo): FifoDto => ({
  name: fifo.name,
  maxLengthBytes: fifo.maxLengthBytes,
  messageTtl: fifo.messageTtl,
  messages: fifo.messages,
  messageBytes: fifo.bytes,
  consumers: fifo.consumers,
});
