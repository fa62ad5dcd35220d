import type { AccountType, Role } from '@orrery/core/auth';
import type { OfferSettings } from '@orrery/core/limits';
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

  /** The user whose login issued the key; null for every other key. */
  @Column('text', { name: 'user_id', nullable: true })
  userId!: string | null;

  /** Milliseconds from the last use of a login's key to its end. */
  @Column('integer', { name: 'session_ttl_ms', nullable: true })
  sessionTtlMs!: number | null;

  /** CA certificates that sign the certificates of the key's clients (manual 6.3.4). */
  @Column('text', { name: 'ca_cert_ids', array: true })
  caCertIds!: string[];

  @Column('boolean', { name: 'client_cert_required' })
  clientCertRequired!: boolean;
}

/** A key with what its ancestors and its tenant leave of it: `roles`, `from` and `to` are narrowed to theirs. */
@Entity('api_keys_in_force')
export class ApiKeyInForce extends ApiKey {
  /** False when the key, an ancestor or the tenant is disabled. */
  @Column('boolean', { name: 'in_force' })
  inForce!: boolean;

  @Column('text', { name: 'account_type' })
  accountType!: AccountType;

  @Column('jsonb', { name: 'offer_settings' })
  offerSettings!: OfferSettings;
}
