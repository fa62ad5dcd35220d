import { ApiProperty } from '@nestjs/swagger';
import { IsBoolean } from 'class-validator';
import { type PostCondition, type PreCondition, type Rule, RULE_TYPES, type RuleType } from './rule.entity.js';

const PRE_CONDITION = {
  type: 'object' as const,
  properties: { tenantContextLogic: { description: 'JsonLogic on the tenant', additionalProperties: true } },
};
const POST_CONDITION = {
  type: 'object' as const,
  properties: {
    settingSection: { type: 'string' as const },
    settingPath: { type: 'string' as const },
    value: {},
    action: { type: 'string' as const, enum: ['SET', 'ADD'] },
  },
};

/** What a customer is subscribed to. */
export class SubscriptionView {
  @ApiProperty()
  id!: string;

  @ApiProperty({ description: 'of this version; unique' })
  name!: string;

  @ApiProperty({ description: 'points to the version that was created last' })
  displayName!: string;

  @ApiProperty({ enum: RULE_TYPES })
  type!: RuleType;
}

/** A version of an offer or option (manual 21.4.2). */
export class RuleView extends SubscriptionView {
  @ApiProperty({ description: 'no customer can be subscribed any more; those that are remain so' })
  disabled!: boolean;

  @ApiProperty({ format: 'date-time' })
  created!: string;

  @ApiProperty({ type: [String] })
  tags!: string[];

  @ApiProperty({ type: 'array', items: PRE_CONDITION })
  preConditions!: PreCondition[];

  @ApiProperty({ type: 'array', items: POST_CONDITION })
  offerSettingsPostConditions!: PostCondition[];
}

/** A version of a rule, as an administrator writes it: all versions share the display name. */
export class RuleCreation {
  @ApiProperty()
  name!: string;

  @ApiProperty()
  displayName!: string;

  @ApiProperty({ enum: RULE_TYPES })
  type!: RuleType;

  @ApiProperty({ required: false, default: false })
  disabled?: boolean;

  @ApiProperty({ required: false, type: [String] })
  tags?: string[];

  @ApiProperty({ required: false, type: 'array', items: PRE_CONDITION })
  preConditions?: PreCondition[];

  @ApiProperty({ required: false, type: 'array', items: POST_CONDITION })
  offerSettingsPostConditions?: PostCondition[];
}

export class RuleChanges {
  @ApiProperty()
  @IsBoolean({ message: 'true or false' })
  disabled!: boolean;
}

export const subscriptionView = ({ id, name, displayName, type }: Rule): SubscriptionView => ({
  id,
  name,
  displayName,
  type,
});

export const ruleView = (rule: Rule): RuleView => ({
  ...subscriptionView(rule),
  disabled: rule.disabled,
  created: rule.created.toISOString(),
  tags: rule.tags,
  preConditions: rule.preConditions,
  offerSettingsPostConditions: rule.postConditions,
});
