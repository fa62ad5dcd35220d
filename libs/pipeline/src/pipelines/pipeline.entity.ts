import type { MessageFilter } from '@orrery/core/messages';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { Step } from './pipeline-document.js';

/** What is transformed, and by whom (manual 11.4.2). */
@Entity('pipelines')
export class Pipeline {
  @PrimaryColumn('text', { name: 'tenant_id' }) tenantId!: string;
  @PrimaryColumn('uuid') id!: string;
  @Column('text') name!: string;
  @Column({ type: 'text', nullable: true }) description!: string | null;
  @Column({ type: 'bigint', name: 'priority_level', transformer: { to: (value: number) => value, from: Number } })
  priorityLevel!: number;
  @Column('boolean') enabled!: boolean;
  @Column({ type: 'json', nullable: true }) filter!: MessageFilter | null;
  @Column('json') steps!: Array<Omit<Step, 'headers'>>;
  /** Sealed: of each step its headers, or null. Null when no step has any. */
  @Column({ type: 'text', nullable: true }) headers!: string | null;
  @Column('timestamptz') created!: Date;
}
