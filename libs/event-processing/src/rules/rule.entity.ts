import { Column, Entity, PrimaryColumn } from 'typeorm';

export type RuleKind = 'matching' | 'firing' | 'state';

/** A rule of any kind: what they have in common, and what its kind adds. */
@Entity('rules')
export class Rule {
  @PrimaryColumn('text', { name: 'tenant_id' }) tenantId!: string;
  @PrimaryColumn('text') kind!: RuleKind;
  @PrimaryColumn('uuid') id!: string;
  @Column({ type: 'text', nullable: true }) name!: string | null;
  @Column('boolean') enabled!: boolean;
  @Column('json') definition!: Record<string, unknown>;
  @Column('timestamptz') created!: Date;
}
