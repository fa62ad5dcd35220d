import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { Definition, Kind } from './decoder-document.js';

/** How payloads of one encoding are decoded (manual 11.3). */
@Entity('decoders')
export class Decoder {
  /** See `ownerOf`. */
  @PrimaryColumn('text', { name: 'tenant_id' }) tenantId!: string;
  @PrimaryColumn('uuid') id!: string;
  @Column('text') encoding!: string;
  @Column('text') kind!: Kind;
  @Column('boolean') enabled!: boolean;
  @Column('json') definition!: Definition;
  @Column({ type: 'text', nullable: true }) template!: string | null;
  @Column({ type: 'text', nullable: true }) model!: string | null;
  @Column({ type: 'text', array: true }) tags!: string[];
  @Column('int') revision!: number;
  @Column('timestamptz') created!: Date;
  @Column('timestamptz') updated!: Date;
}
