import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A certification authority of a tenant, which signs the certificates of its MQTT clients (manual 6.3.4). */
@Entity('ca_certificates')
export class CaCertificate {
  @PrimaryColumn('text', { name: 'tenant_id' })
  tenantId!: string;

  @PrimaryColumn('text')
  id!: string;

  /** PEM. Never changes, so that whoever has read it may keep it. */
  @Column('text')
  certificate!: string;

  @Column('text', { nullable: true })
  comment!: string | null;

  @Column('timestamptz')
  expires!: Date;

  @Column('timestamptz', { default: () => 'now()' })
  created!: Date;
}
