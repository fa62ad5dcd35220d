import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { ActivityRuleView, SilentPolicyDto, TargetsDto } from './activity-rule.dto.js';

/** Manual 17.2.7.2. */
@Entity('activity_rules')
export class ActivityRule {
  @PrimaryColumn('text', { name: 'tenant_id' }) tenantId!: string;
  @PrimaryColumn('uuid') id!: string;
  @Column('text') name!: string;
  @Column('boolean') enabled!: boolean;
  @Column('json', { name: 'silent_policy' }) silentPolicy!: SilentPolicyDto;
  @Column('json') targets!: TargetsDto;
  @Column('text', { array: true, nullable: true }) tags!: string[] | null;
  /** Milliseconds, as text: it is a bigint. */
  @Column('bigint', { name: 'delay_ms' }) delayMs!: string;
  @Column('bigint', { name: 'repeat_ms', nullable: true }) repeatMs!: string | null;
  @Column('integer') version!: number;
  @Column('timestamptz') changed!: Date;
  @Column('timestamptz') created!: Date;
}

/** As the API and stored events show it. */
export const ruleView = ({ id, name, enabled, silentPolicy, targets, tags }: ActivityRule): ActivityRuleView => ({
  id,
  name,
  enabled,
  silentPolicy,
  targets,
  ...(tags === null ? {} : { tags }),
});
