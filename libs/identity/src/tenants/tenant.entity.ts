import type { LimitValues } from '@orrery/core/limits';
import { Column, Entity, PrimaryColumn } from 'typeorm';

/** The isolated space of one customer (manual 4.1). */
@Entity('tenants')
export class Tenant {
  @PrimaryColumn('text')
  id!: string;

  @Column('text')
  name!: string;

  @Column('jsonb')
  limits!: LimitValues;

  @Column('boolean', { default: true })
  active!: boolean;

  @Column('timestamptz', { default: () => 'now()' })
  created!: Date;
}
