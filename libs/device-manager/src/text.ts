import { ValidateBy, type ValidationOptions } from 'class-validator';

/** What PostgreSQL cannot keep in a text or jsonb: NUL and lone surrogates. */
const UNSTORABLE = /[\0\p{Surrogate}]/u;

/** True for a string of `min` to `max` UTF-16 units that can be stored. */
export const isText = (value: unknown, min: number, max: number): value is string =>
  typeof value === 'string' && value.length >= min && value.length <= max && !UNSTORABLE.test(value);

export const IsText = (min: number, max: number, options?: ValidationOptions): PropertyDecorator =>
  ValidateBy(
    {
      name: 'isText',
      validator: {
        validate: (value) => isText(value, min, max),
        defaultMessage: () =>
          `${options?.each ? 'each a string' : 'a string'} of ${min} to ${max} characters, without NUL or lone surrogates`,
      },
    },
    options,
  );
