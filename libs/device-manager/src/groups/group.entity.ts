import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A group of devices (manual 8.1). The root group of a tenant has neither parent nor path node. */
@Entity('groups')
export class Group {
  @PrimaryColumn({ name: 'tenant_id', type: 'text' }) tenantId!: string;
  @PrimaryColumn({ type: 'text' }) id!: string;
  @Column({ name: 'parent_id', type: 'text', nullable: true }) parentId!: string | null;
  @Column({ name: 'path_node', type: 'text', nullable: true }) pathNode!: string | null;
  /** Parent path, `/`, path node. */
  @Column({ type: 'text' }) path!: string;
  @Column({ type: 'text', nullable: true }) description!: string | null;
  @Column({ type: 'timestamptz' }) created!: Date;
  @Column({ type: 'timestamptz' }) updated!: Date;
}
