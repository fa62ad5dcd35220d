import { createHash } from 'node:crypto';
import type { CriterionDto } from './guard.dto.js';

const digest = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('base64url');

/** Of a firing context, or a state key, which may be longer than an index takes. */
export const digestOf = (value: unknown): string => digest(value);

/** By which guards are searched. */
export const criterionDigest = ({ keyPath, value }: CriterionDto): string => digest([keyPath, value]);
