import { Column, Entity, PrimaryColumn, type QueryDeepPartialEntity } from 'typeorm';
import type { Capabilities, Definition, InterfaceStatus } from '../connectors/connector.js';
import type { StatusSequence } from '../sessions/session-state.js';

/** A device's access to the platform by one connector (manual 5.2.1.3). */
@Entity('interfaces')
export class Interface {
  @PrimaryColumn({ name: 'tenant_id', type: 'text' }) tenantId!: string;
  @PrimaryColumn({ type: 'text' }) connector!: string;
  @PrimaryColumn({ name: 'node_id', type: 'text' }) nodeId!: string;
  @Column({ name: 'device_id', type: 'text' }) deviceId!: string;
  @Column({ type: 'boolean' }) enabled!: boolean;
  @Column({ type: 'text' }) status!: InterfaceStatus;
  @Column({ type: 'jsonb' }) definition!: Definition;
  /** Sealed; null where the connector has none. */
  @Column({ type: 'text', nullable: true }) secret!: string | null;
  @Column({ type: 'jsonb' }) activity!: Record<string, unknown>;
  @Column({ type: 'jsonb' }) capabilities!: Capabilities;
  @Column({ name: 'last_contact', type: 'timestamptz', nullable: true }) lastContact!: Date | null;
  /** True since the first session: decides the status when there is none. */
  @Column({ type: 'boolean' }) connected!: boolean;
  /** Latest session that its connector has not ended. */
  @Column({ name: 'session_id', type: 'text', nullable: true }) sessionId!: string | null;
  /**
   * Connector instance that holds the session. Null beside a session id: the platform considers the session ended
   * (disabled, or its instance fell silent), and a sign of life of that same session opens it again.
   */
  @Column({ name: 'session_instance', type: 'text', nullable: true }) sessionInstance!: string | null;
  /** Kept for external connectors, whose statuses may come in any order. */
  @Column({ name: 'status_sequence', type: 'jsonb', nullable: true }) statusSequence!: StatusSequence | null;
  @Column({ type: 'timestamptz' }) created!: Date;
  @Column({ type: 'timestamptz' }) updated!: Date;
}

/** The row as TypeORM writes it: its type for that has no place for free JSON. */
export const interfaceColumns = (row: Interface): QueryDeepPartialEntity<Interface> =>
  row as QueryDeepPartialEntity<Interface>;
