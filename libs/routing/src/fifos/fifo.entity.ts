import { Column, Entity, PrimaryColumn, type ValueTransformer } from 'typeorm';

// PostgreSQL's bigint comes as a string.
const wholeNumber: ValueTransformer = { from: (value: string) => Number(value), to: (value: number) => value };

/** A bounded queue of messages for applications (manual 16.2.1). */
@Entity('fifos')
export class Fifo {
  @PrimaryColumn('text', { name: 'tenant_id' }) tenantId!: string;
  @PrimaryColumn('text') name!: string;
  @Column({ type: 'int', insert: false, update: false }) id!: number;
  @Column('int') partition!: number;
  @Column({ type: 'bigint', name: 'max_length_bytes', transformer: wholeNumber }) maxLengthBytes!: number;
  /** Seconds. */
  @Column({ type: 'int', name: 'message_ttl' }) messageTtl!: number;
  @Column({ type: 'bigint', insert: false, update: false, transformer: wholeNumber }) messages!: number;
  @Column({ type: 'bigint', insert: false, update: false, transformer: wholeNumber }) bytes!: number;
  @Column({ type: 'int', insert: false, update: false }) consumers!: number;
  @Column({ type: 'timestamptz', insert: false, update: false }) created!: Date;
}
