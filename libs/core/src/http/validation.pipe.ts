import { ValidationPipe } from '@nestjs/common';
import type { ValidationError } from 'class-validator';
import type { FieldError } from '../messages/index.js';
import { invalidParameters } from './errors.js';

function flatten(errors: ValidationError[], path = ''): FieldError[] {
  return errors.flatMap((error) => {
    const field = path ? `${path}.${error.property}` : error.property;
    const own = Object.values(error.constraints ?? {}).map((expected) => ({ field, expected }));
    return [...own, ...flatten(error.children ?? [], field)];
  });
}

/** Checks bodies against their DTO: every bad field is listed. Unknown fields are dropped, as older clients send some. */
export const validationPipe = (): ValidationPipe =>
  new ValidationPipe({
    transform: true,
    whitelist: true,
    exceptionFactory: (errors) => invalidParameters(flatten(errors)),
  });
