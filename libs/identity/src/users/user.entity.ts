import type { Role } from '@orrery/core/auth';
import { Column, Entity, PrimaryColumn } from 'typeorm';

/** Somebody who logs in with a password (manual 4.2). */
@Entity('users')
export class User {
  @PrimaryColumn('text', { name: 'tenant_id' })
  tenantId!: string;

  @PrimaryColumn('text')
  id!: string;

  /** Unique on the platform. */
  @Column('text')
  login!: string;

  @Column('text')
  email!: string;

  @Column('text', { array: true })
  roles!: Role[];

  @Column('boolean')
  enabled!: boolean;

  /** The one user that the tenant was created with, or that took over from it. */
  @Column('boolean', { name: 'main_user' })
  mainUser!: boolean;

  /** Null until the user has chosen a password; see `hashPassword`. */
  @Column('text', { name: 'password_hash', nullable: true })
  passwordHash!: string | null;

  @Column('timestamptz', { default: () => 'now()' })
  created!: Date;

  @Column('timestamptz', { name: 'last_authentication', nullable: true })
  lastAuthentication!: Date | null;

  @Column('timestamptz', { name: 'last_reset_password', nullable: true })
  lastResetPassword!: Date | null;
}
