import { pino, type Logger as PinoLogger } from 'pino';

export type Logger = PinoLogger;

/** Structured log of one process. Values of fields that carry secrets are removed wherever they appear. */
export function createLogger(name: string, level = 'info'): Logger {
  return pino({
    name,
    level,
    redact: { paths: ['password', '*.password', 'apiKey', '*.apiKey', 'headers["x-api-key"]'], remove: true },
  });
}
