import { ApiProperty, ApiPropertyOptional, type ApiPropertyOptions } from '@nestjs/swagger';
import { ACCOUNT_TYPES, type AccountType } from '@orrery/core/auth';
import type { OfferSettings } from '@orrery/core/limits';
import { ValidateBy } from 'class-validator';
import { IsLogin, IsMailAddress } from '../users/user.dto.js';
import { isTitle } from './json-object.js';
import { REMOVAL_DELAY_MS, statusOf, type Tenant, TENANT_STATUSES, type TenantStatus } from './tenant.entity.js';

/** Content of a section of settings, with the number of its changes. */
export const SECTION_SCHEMA = {
  type: 'object',
  properties: { content: { type: 'object', additionalProperties: true }, revision: { type: 'number' } },
} satisfies ApiPropertyOptions;
const SECTIONS = { type: 'object', additionalProperties: SECTION_SCHEMA } satisfies ApiPropertyOptions;

/** A tenant, as those see it who manage it. Dates are epoch milliseconds. */
export class ManagedTenantView {
  @ApiProperty()
  id!: string;

  @ApiProperty()
  name!: string;

  @ApiProperty({ enum: ACCOUNT_TYPES })
  accountType!: AccountType;

  @ApiPropertyOptional({ description: 'the vendor of a customer' })
  parentId?: string;

  @ApiProperty({ enum: TENANT_STATUSES })
  status!: TenantStatus;

  @ApiProperty(SECTIONS)
  offerSettings!: OfferSettings;

  @ApiProperty()
  creationTs!: number;

  @ApiPropertyOptional({ description: 'when the tenant is removed, after its deletion was ordered' })
  deletionTs?: number;
}

export class VendorView extends ManagedTenantView {
  @ApiProperty({ type: [String], description: 'vendors that may manage the customers of this one too' })
  supportVendorIds!: string[];
}

/** The tenant of a key, as its holders see it. */
export class TenantView {
  @ApiProperty()
  id!: string;

  @ApiProperty()
  name!: string;

  @ApiProperty({ enum: ACCOUNT_TYPES })
  accountType!: AccountType;

  @ApiProperty({ enum: TENANT_STATUSES })
  status!: TenantStatus;

  @ApiProperty({ ...SECTIONS, description: 'features and limits; written by offers and options alone' })
  offerSettings!: OfferSettings;

  @ApiPropertyOptional({ ...SECTIONS, description: 'what the tenant keeps for itself; shown with SETTINGS_R' })
  userSettings?: OfferSettings;

  @ApiProperty()
  masterApiKeyId!: string;

  @ApiProperty()
  creationTs!: number;
}

const IsTitle = (): PropertyDecorator =>
  ValidateBy({
    name: 'isTitle',
    validator: {
      validate: (value) => isTitle(value),
      defaultMessage: () => 'a text of 1 to 256 characters that no other tenant has as its name',
    },
  });

/** A tenant with its main user, who gets the Admin profile (manual 21.4.1). */
export class CustomerCreation {
  @ApiProperty({ description: 'unique on the platform' })
  @IsTitle()
  name!: string;

  @ApiProperty({ description: 'of the main user; unique on the platform' })
  @IsLogin()
  login!: string;

  @ApiProperty({ description: 'where the activation mail of the main user goes' })
  @IsMailAddress()
  email!: string;
}

const SUPPORT_VENDORS = 100;

const IsIds = (): PropertyDecorator =>
  ValidateBy({
    name: 'isIds',
    validator: {
      validate: (value) =>
        Array.isArray(value) &&
        value.length <= SUPPORT_VENDORS &&
        value.every((id) => typeof id === 'string' && /^[0-9a-f]{24}$/.test(id)),
      defaultMessage: () => `at most ${SUPPORT_VENDORS} ids of vendors`,
    },
  });

export class VendorChanges {
  @ApiProperty({ type: [String] })
  @IsIds()
  supportVendorIds!: string[];
}

export class VendorCreation extends CustomerCreation {
  @ApiPropertyOptional({ type: [String] })
  @IsIds()
  supportVendorIds: string[] = [];
}

export function managedView(tenant: Tenant): ManagedTenantView {
  const { id, name, accountType, parentId, offerSettings, created, deletionOrdered } = tenant;
  return {
    id,
    name,
    accountType,
    ...(parentId === null ? {} : { parentId }),
    status: statusOf(tenant),
    offerSettings,
    creationTs: created.getTime(),
    ...(deletionOrdered ? { deletionTs: deletionOrdered.getTime() + REMOVAL_DELAY_MS } : {}),
  };
}

export const vendorView = (tenant: Tenant): VendorView => ({
  ...managedView(tenant),
  supportVendorIds: tenant.supportVendorIds,
});
