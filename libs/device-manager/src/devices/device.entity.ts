import { Column, Entity, JoinColumn, ManyToOne, PrimaryColumn, VirtualColumn } from 'typeorm';
import { Group } from '../groups/group.entity.js';

/** Declared position of a device (manual 5.2.1.6): degrees, and metres. */
export interface StaticLocation {
  lat: number;
  lon: number;
  alt?: number;
}

@Entity('devices')
export class Device {
  @PrimaryColumn({ name: 'tenant_id', type: 'text' }) tenantId!: string;
  @PrimaryColumn({ type: 'text' }) id!: string;
  @Column({ type: 'text', nullable: true }) name!: string | null;
  @Column({ type: 'text', nullable: true }) description!: string | null;
  @Column({ name: 'default_data_stream_id', type: 'text' }) defaultDataStreamId!: string;
  @Column({ type: 'text', array: true }) tags!: string[];
  @Column({ type: 'jsonb' }) properties!: Record<string, string>;
  @Column({ name: 'group_id', type: 'text' }) groupId!: string;
  @Column({ name: 'static_location', type: 'jsonb', nullable: true }) staticLocation!: StaticLocation | null;
  @Column({ type: 'timestamptz' }) created!: Date;
  @Column({ type: 'timestamptz' }) updated!: Date;

  /** Of all activity rules that target the device (manual 5.2.1.2); read-only. */
  @VirtualColumn({
    query: (device) =>
      `SELECT coalesce(s.activity_state, 'NOT_MONITORED') FROM device_states s
       WHERE s.tenant_id = ${device}.tenant_id AND s.device_id = ${device}.id`,
  })
  activityState!: string;

  @ManyToOne(() => Group)
  @JoinColumn([
    { name: 'tenant_id', referencedColumnName: 'tenantId' },
    { name: 'group_id', referencedColumnName: 'id' },
  ])
  group?: Group;
}
