import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { PROFILES, ROLES, type Role } from '@orrery/core/auth';
import type { PageV0 } from '@orrery/core/http';
import { isMailAddress, MAX_ADDRESS_LENGTH } from '@orrery/core/mail';
import { ArrayNotEmpty, IsArray, IsBoolean, IsIn, IsOptional, IsString, MaxLength, ValidateBy } from 'class-validator';
import { PASSWORD_RULE } from './passwords.js';

const LOGIN = /^[a-zA-Z0-9_-]{3,254}$/;

/** True for what can be the login of a user. */
export const isLogin = (value: unknown): value is string =>
  (typeof value === 'string' && LOGIN.test(value)) || isMailAddress(value);

/** Login of a user: `[a-zA-Z0-9_-]{3,254}` or an e-mail address. */
export const IsLogin = (): PropertyDecorator =>
  ValidateBy({
    name: 'isLogin',
    validator: {
      validate: isLogin,
      defaultMessage: () => '3 to 254 letters (a to z), digits, - and _, or an e-mail address',
    },
  });

/** One e-mail address without display name. */
export const IsMailAddress = (): PropertyDecorator =>
  ValidateBy({
    name: 'isMailAddress',
    validator: {
      validate: isMailAddress,
      defaultMessage: () => `an e-mail address of at most ${MAX_ADDRESS_LENGTH} characters`,
    },
  });

const ROLE_LIST = { message: `a list of at least one of ${ROLES.join(', ')}` };
const PROFILE_NAMES = Object.keys(PROFILES) as Array<keyof typeof PROFILES>;
export const USER_STATES = ['enabled', 'disabled'] as const;
export type UserState = (typeof USER_STATES)[number];
export const isUserState = (value: unknown): value is UserState => USER_STATES.some((state) => state === value);

/** Roles one by one, or those of a profile (manual 4.4). */
export class GrantedRoles {
  @ApiPropertyOptional({ enum: ROLES, isArray: true })
  @IsOptional()
  @IsArray(ROLE_LIST)
  @ArrayNotEmpty(ROLE_LIST)
  @IsIn(ROLES, { each: true, ...ROLE_LIST })
  roles?: Role[] | null;

  @ApiPropertyOptional({ enum: PROFILE_NAMES, description: 'instead of roles' })
  @IsOptional()
  @IsIn(PROFILE_NAMES, { message: `one of ${PROFILE_NAMES.join(', ')}` })
  profile?: keyof typeof PROFILES | null;
}

export class UserCreation extends GrantedRoles {
  @ApiProperty()
  @IsLogin()
  login!: string;

  @ApiProperty()
  @IsMailAddress()
  email!: string;
}

/** Fields of a user that can be changed. */
export class UserChanges extends GrantedRoles {
  @ApiPropertyOptional({ type: String })
  @IsOptional()
  @IsLogin()
  login?: string | null;

  @ApiPropertyOptional({ type: String })
  @IsOptional()
  @IsMailAddress()
  email?: string | null;

  @ApiPropertyOptional({ enum: USER_STATES })
  @IsOptional()
  @IsIn(USER_STATES, { message: `one of ${USER_STATES.join(', ')}` })
  state?: UserState | null;

  @ApiPropertyOptional({ type: Boolean, description: 'true: takes over from the main user; false changes nothing' })
  @IsOptional()
  @IsBoolean({ message: 'true or false' })
  mainUser?: boolean | null;
}

export class UserActivation {
  @ApiProperty()
  @IsString({ message: 'the id of a user without password' })
  userId!: string;
}

export class PasswordChange {
  @ApiProperty()
  @IsString({ message: 'the current password' })
  @MaxLength(1024, { message: 'the current password' })
  oldPassword!: string;

  @ApiProperty({ description: PASSWORD_RULE })
  @IsString({ message: PASSWORD_RULE })
  newPassword!: string;
}

export class TokenPassword {
  @ApiProperty({ description: 'from the mail' })
  @IsString({ message: 'the token of a mail' })
  tokenId!: string;

  @ApiProperty({ description: PASSWORD_RULE })
  @IsString({ message: PASSWORD_RULE })
  password!: string;
}

export class PasswordReset {
  @ApiProperty()
  @IsString({ message: 'the login of a user' })
  userLogin!: string;
}

/** A user as it is read. Dates are epoch milliseconds. */
export class UserView {
  @ApiProperty()
  id!: string;

  @ApiProperty()
  tenantId!: string;

  @ApiProperty()
  login!: string;

  @ApiProperty()
  email!: string;

  @ApiProperty({ enum: ROLES, isArray: true })
  roles!: Role[];

  @ApiProperty({ enum: USER_STATES })
  state!: UserState;

  @ApiProperty()
  mainUser!: boolean;

  @ApiPropertyOptional({ description: 'absent until the first login' })
  lastAuthentication?: number;
}

export class UserPage implements PageV0<UserView> {
  @ApiProperty()
  totalCount!: number;

  @ApiProperty()
  size!: number;

  @ApiProperty()
  page!: number;

  @ApiProperty({ type: [UserView] })
  data!: UserView[];
}
