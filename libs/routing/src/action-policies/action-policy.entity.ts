import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { StoredActions } from '../actions/action-store.js';
import type { Triggers } from './policy-document.js';

/** What is routed, and where to (manual 14.1). */
@Entity('action_policies')
export class ActionPolicy {
  @PrimaryColumn('text', { name: 'tenant_id' }) tenantId!: string;
  @PrimaryColumn('uuid') id!: string;
  @Column({ type: 'text', nullable: true }) name!: string | null;
  @Column('boolean') enabled!: boolean;
  @Column({ type: 'text', nullable: true }) suspension!: string | null;
  @Column('json') triggers!: Triggers;
  @Column('json') actions!: StoredActions;
  @Column({ type: 'text', array: true, name: 'fifo_names' }) fifoNames!: string[];
  /** Only messages that arrive later are routed (manual 14.1). */
  @Column({ type: 'timestamptz', name: 'active_since' }) activeSince!: Date;
  @Column('timestamptz') created!: Date;
}
