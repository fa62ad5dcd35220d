import { isMailAddress, MAX_ADDRESS_LENGTH } from '@orrery/core/mail';
import { ValidateBy } from 'class-validator';

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
