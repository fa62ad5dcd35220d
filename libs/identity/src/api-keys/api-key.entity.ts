import type { Role } from '@orrery/core/auth';
import type { LimitValues } from '@orrery/core/limits';
import { Column, Entity, PrimaryColumn } from 'typeorm';

/** An API key as it was granted (manual 4.3). Its value is not kept, only its hash. */
@Entity('api_keys')
export class ApiKey {
  @PrimaryColumn('text', { name: 'tenant_id' })
  tenantId!: string;

  @PrimaryColumn('text')
  id!: string;

  /** Null for the tenant's master key alone. */
  @Column('text', { name: 'parent_id', nullable: true })
  parentId!: string | null;

  @Column('text')
  label!: string;

  @Column('text')
  hash!: string;

  @Column('text', { array: true })
  roles!: Role[];

  /** FIFOs that the key is restricted to; empty means no restriction. */
  @Column('text', { array: true })
  fifos!: string[];

  @Column('boolean')
  active!: boolean;

  @Column('timestamptz', { name: 'valid_from', nullable: true })
  from!: Date | null;

  @Column('timestamptz', { name: 'valid_to', nullable: true })
  to!: Date | null;

  @Column('timestamptz', { default: () => 'now()' })
  created!: Date;

  @Column('timestamptz', { name: 'debug_until', nullable: true })
  debugUntil!: Date | null;
}

/** A key with what its ancestors and its tenant leave of it: `roles`, `from` and `to` are narrowed to theirs. */
@Entity('api_keys_in_force')
export class ApiKeyInForce extends ApiKey {
  /** False when the key, an ancestor or the tenant is disabled. */
  @Column('boolean', { name: 'in_force' })
  inForce!: boolean;

  @Column('jsonb')
  limits!: LimitValues;
}
