import { type ArgumentMetadata, ValidationPipe } from '@nestjs/common';
import type { ValidationError } from 'class-validator';
import type { FieldError } from '../messages/index.js';
import { invalidParameter, invalidParameters } from './errors.js';

function flatten(errors: ValidationError[], path = ''): FieldError[] {
  return errors.flatMap((error) => {
    const field = path ? `${path}.${error.property}` : error.property;
    const own = Object.values(error.constraints ?? {}).map((expected) => ({ field, expected }));
    return [...own, ...flatten(error.children ?? [], field)];
  });
}

/** Most levels, objects and lists, and values of any kind of a body that is checked against a DTO: the check is recursive and heavy. */
const MAX_LEVELS = 100;
const MAX_OBJECTS = 10_000;
const MAX_VALUES = 100_000;

function checkSize(body: unknown): void {
  let level = [body];
  let count = 0;
  let values = 0;
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_LEVELS) throw invalidParameter('body', `at most ${MAX_LEVELS} levels`);
    const below: unknown[] = [];
    for (const each of level) {
      if (typeof each !== 'object' || each === null) continue;
      if (++count > MAX_OBJECTS) throw invalidParameter('body', `at most ${MAX_OBJECTS} objects and lists`);
      const members: unknown[] = Object.values(each);
      values += members.length;
      if (values > MAX_VALUES) throw invalidParameter('body', `at most ${MAX_VALUES} values`);
      for (const member of members) if (typeof member === 'object') below.push(member);
    }
    level = below;
  }
}

class BoundedValidationPipe extends ValidationPipe {
  override async transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    if (metadata.type === 'body' && this.toValidate(metadata)) {
      checkSize(value);
      // What Nest says to lists and scalars does not say what is expected.
      if (value !== undefined && value !== null && (typeof value !== 'object' || Array.isArray(value)))
        throw invalidParameter('body', 'a JSON object');
    }
    return super.transform(value, metadata);
  }

  // Nest would also remove fields named `prototype`, which are data like any other: definitions of Sigfox have one.
  // The libraries behind it trip over the other two.
  protected override stripProtoKeys(value: unknown): void {
    if (typeof value !== 'object' || value === null) return;
    for (const name of ['__proto__', 'constructor'])
      if (Object.hasOwn(value, name)) Reflect.deleteProperty(value, name);
    for (const member of Object.values(value)) this.stripProtoKeys(member);
  }
}

/** Checks bodies against their DTO: every bad field is listed. Unknown fields are dropped, as older clients send some. */
export const validationPipe = (): ValidationPipe =>
  new BoundedValidationPipe({
    transform: true,
    whitelist: true,
    exceptionFactory: (errors) => invalidParameters(flatten(errors)),
  });
