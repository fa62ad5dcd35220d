import type { AccountType } from '@orrery/core/auth';
import type { OfferSettings } from '@orrery/core/limits';
import { Column, Entity, PrimaryColumn } from 'typeorm';

/** The isolated space of one customer (manual 4.1). */
@Entity('tenants')
export class Tenant {
  @PrimaryColumn('text')
  id!: string;

  @Column('text')
  name!: string;

  @Column('text', { name: 'account_type' })
  accountType!: AccountType;

  /** The vendor of a customer, the administrator of a vendor. */
  @Column('text', { name: 'parent_id', nullable: true })
  parentId!: string | null;

  /** Vendors that may manage this vendor's customers too (manual 21.2). */
  @Column('text', { name: 'support_vendor_ids', array: true })
  supportVendorIds!: string[];

  /** Written by BSS rules alone (manual 21.3). */
  @Column('jsonb', { name: 'offer_settings' })
  offerSettings!: OfferSettings;

  /** False while the tenant is deactivated: nobody can use its keys. */
  @Column('boolean')
  active!: boolean;

  /** When its removal was ordered; it is removed 7 days later (manual 21.6). */
  @Column('timestamptz', { name: 'deletion_ordered', nullable: true })
  deletionOrdered!: Date | null;

  @Column('timestamptz', { default: () => 'now()' })
  created!: Date;
}

export const TENANT_STATUSES = ['ACTIVATED', 'DEACTIVATED'] as const;
export type TenantStatus = (typeof TENANT_STATUSES)[number];

export const statusOf = ({ active }: Tenant): TenantStatus => (active ? 'ACTIVATED' : 'DEACTIVATED');

/** A tenant is removed so long after its deletion was ordered (manual 21.6). */
export const REMOVAL_DELAY_MS = 7 * 24 * 3_600_000;
