import { Column, Entity, PrimaryColumn } from 'typeorm';

export type ContextKind = 'context' | 'geozone';

/** Something that rules refer to by its key (manual 17.2.1 and 17.2.2). */
@Entity('context_entries')
export class ContextEntry {
  @PrimaryColumn('text', { name: 'tenant_id' }) tenantId!: string;
  @PrimaryColumn('text') kind!: ContextKind;
  @PrimaryColumn('text') key!: string;
  /** Null when it has been deleted. */
  @Column({ type: 'json', nullable: true }) document!: Record<string, unknown> | null;
  @Column({ type: 'text', array: true }) tags!: string[];
  @Column('bigint') version!: string;
  @Column('timestamptz') updated!: Date;
}
