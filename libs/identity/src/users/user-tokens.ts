import { createHash, randomBytes } from 'node:crypto';

/** What a token is for: the first password (manual 3.1), or another one when it is forgotten. */
export type TokenPurpose = 'activation' | 'reset';

const HOUR_MS = 3_600_000;
export const TOKEN_LIFETIME_MS: Record<TokenPurpose, number> = { activation: 7 * 24 * HOUR_MS, reset: HOUR_MS };

export const newToken = (): string => randomBytes(24).toString('base64url');

/** Tokens are long and random: a plain digest is enough. */
export const hashToken = (token: string): string => createHash('sha256').update(token).digest('hex');
