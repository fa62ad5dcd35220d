import { Column, Entity, PrimaryColumn } from 'typeorm';

export const RULE_TYPES = ['OFFER', 'OPTION', 'ADMIN_OPTION'] as const;
export type RuleType = (typeof RULE_TYPES)[number];

/** JsonLogic on the tenant (manual 21.4.2): see pre-conditions.ts for what it can read. */
export interface PreCondition {
  tenantContextLogic: unknown;
}

/** A command on the offer settings (manual 21.3). */
export interface PostCondition {
  settingSection: string;
  /** Names of objects within the section, separated by dots; absent for the content of the section. */
  settingPath?: string;
  value: unknown;
  action: 'SET' | 'ADD';
}

/** One version of an offer or option. It never changes, except that it is disabled or enabled. */
@Entity('bss_rules')
export class Rule {
  /** Order of creation. */
  @PrimaryColumn('bigint', { generated: true })
  number!: string;

  @Column('text')
  id!: string;

  /** Unique. */
  @Column('text')
  name!: string;

  /** Shared by the versions of a rule. */
  @Column('text', { name: 'display_name' })
  displayName!: string;

  @Column('text')
  type!: RuleType;

  @Column('boolean')
  disabled!: boolean;

  @Column('text', { array: true })
  tags!: string[];

  @Column('jsonb', { name: 'pre_conditions' })
  preConditions!: PreCondition[];

  @Column('jsonb', { name: 'post_conditions' })
  postConditions!: PostCondition[];

  @Column('timestamptz', { default: () => 'now()' })
  created!: Date;
}
