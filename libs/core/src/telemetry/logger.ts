import { pino, type Logger as PinoLogger } from 'pino';

export type Logger = PinoLogger;

/** Structured log of one process. Values of fields that carry secrets are removed wherever they appear. */
export function createLogger(name: string, level = 'info'): Logger {
  return pino({
    name,
    level,
    // Without this an error is logged as {}. Its other properties are left out: a failed query carries its parameters.
    serializers: {
      error: (error: unknown) => (error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : error),
    },
    redact: { paths: ['password', '*.password', 'apiKey', '*.apiKey', 'headers["x-api-key"]'], remove: true },
  });
}
