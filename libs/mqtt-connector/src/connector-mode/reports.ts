import { z } from 'zod';
import { describeErrors, isShallow, MAX_DEPTH, MAX_VALUE_BYTES, normalizeTimestamp } from '@orrery/core/messages';
import { NODE_STATUS } from '@orrery/device-manager/contract';
import { type BadData, parseJson } from '../data/published-data.js';

// What external connectors publish beside data messages, read into events. Each text of a schema says what is expected.

const NODE_ID = /^[\w:-]{1,128}$/;
export const NODE_ID_EXPECTED = 'a node id of 1 to 128 letters, digits, `:`, `-` or `_`';
export const isNodeId = (text: string): boolean => NODE_ID.test(text);

const ANY_OBJECT = 'a JSON object';
const INTEGER = 'an integer';
const integer = z.int(INTEGER);
/** Longest id, name or version; they are looked up, which no control character survives. */
const NAME = '1 to 256 characters without control characters';
const name = z.string(NAME).regex(/^\P{Cc}{1,256}$/u, NAME);
const nodeId = z.string(NODE_ID_EXPECTED).regex(NODE_ID, NODE_ID_EXPECTED);

const capability = z
  .object({ available: z.boolean('true or false').nullish() }, ANY_OBJECT)
  .nullish()
  .transform((given) => given?.available ?? undefined);

/** Manual 6.6.3. Members that are null count as absent. */
export const nodeStatus = z
  .object(
    {
      status: z.enum(['ONLINE', 'OFFLINE'], 'ONLINE or OFFLINE'),
      capabilities: z
        .object({ command: capability, configuration: capability, resource: capability }, ANY_OBJECT)
        .nullish(),
      lastContact: z
        .unknown()
        .optional()
        .transform((text) => (text === undefined || text === null ? undefined : (normalizeTimestamp(text) ?? null)))
        .refine((contact) => contact !== null, 'an ISO 8601 date and time')
        .transform((contact) => contact ?? undefined),
      sessionSequenceId: integer.nullish(),
      eventSequenceId: integer.nullish(),
    },
    ANY_OBJECT,
  )
  .transform(({ capabilities, ...rest }) => ({
    type: NODE_STATUS as typeof NODE_STATUS,
    capabilities: Object.fromEntries(
      Object.entries(capabilities ?? {})
        .filter(([, available]) => available !== undefined)
        .map(([kind, available]) => [kind, { available: available! }]),
    ),
    ...present(rest),
  }));

/** Manual 6.6.5.2. */
export const commandResponse = z
  .object(
    { id: name, nodeId, response: z.unknown().optional().refine(isShallow, `at most ${MAX_DEPTH} levels`) },
    ANY_OBJECT,
  )
  .transform((content) => ({ type: 'commandResponse' as const, ...present(content) }));

const PARAMETERS = 'an object with a type and a value for each parameter';
const parameterKey = z.string().regex(/^[^$\p{Cc}]\P{Cc}{0,255}$/u, `a key of ${NAME}, not starting with $`);

/** Manual 6.6.6.2. Values are compared with what was requested: one out of range is another value, no mistake. */
export const configurationResponse = z
  .object(
    {
      nodeId,
      targetVersion: integer,
      parameters: z
        .record(
          parameterKey,
          z.object(
            {
              type: z.enum(['INT32', 'UINT32', 'FLOAT', 'STRING', 'BINARY'], 'INT32, UINT32, FLOAT, STRING or BINARY'),
              value: z.union([z.number(), z.string()], 'a number or a string'),
            },
            PARAMETERS,
          ),
          PARAMETERS,
        )
        .refine(isFilled, 'at least one parameter'),
    },
    ANY_OBJECT,
  )
  .transform((content) => ({ type: 'configurationResponse' as const, ...content }));

const INT32 = 'an integer from -2147483648 to 2147483647';
const UINT32 = 'an integer from 0 to 4294967295';
const BASE64 = 'base64';
const isBase64 = (text: string): boolean => Buffer.from(text, 'base64').toString('base64') === text;

/** Manual 6.6.6.3, with the ranges of 8.2.3.1. */
export const currentConfiguration = z
  .object(
    {
      nodeId,
      parameters: z
        .record(
          parameterKey,
          z.discriminatedUnion(
            'type',
            [
              z.object({
                type: z.literal('INT32'),
                value: z.int(INT32).min(-2_147_483_648, INT32).max(2_147_483_647, INT32),
              }),
              z.object({ type: z.literal('UINT32'), value: z.int(UINT32).min(0, UINT32).max(4_294_967_295, UINT32) }),
              z.object({ type: z.literal('FLOAT'), value: z.number('a number') }),
              z.object({ type: z.literal('STRING'), value: z.string('a string') }),
              z.object({ type: z.literal('BINARY'), value: z.string(BASE64).refine(isBase64, BASE64) }),
            ],
            `${PARAMETERS}; types are INT32, UINT32, FLOAT, STRING and BINARY`,
          ),
          PARAMETERS,
        )
        .refine(isFilled, 'at least one parameter'),
    },
    ANY_OBJECT,
  )
  .transform((content) => ({ type: 'configurationReport' as const, ...content }));

const errorText = z.string('a string').nullish();

/** Manual 6.6.7.2. */
export const resourceResponse = z
  .object(
    {
      nodeId,
      updateCorrelationId: name,
      status: z.literal('FAILED', 'FAILED'),
      error: z.object({ code: errorText, details: errorText }, ANY_OBJECT).nullish(),
    },
    ANY_OBJECT,
  )
  .transform(({ nodeId, updateCorrelationId, error }) => ({
    type: 'resourceFailure' as const,
    nodeId,
    updateCorrelationId,
    error: present(error ?? {}),
  }));

/** Manual 6.6.7.3. */
export const currentResource = z
  .object(
    {
      nodeId,
      resources: z
        .record(
          name,
          z.object({ version: name }, 'an object with a version'),
          'an object with a version for each resource',
        )
        .refine(isFilled, 'at least one resource'),
    },
    ANY_OBJECT,
  )
  .transform((content) => ({ type: 'resourceReport' as const, ...content }));

/** Reads a publication that must fit the schema. */
export function readReport<Schema extends z.ZodType>(schema: Schema, payload: Buffer): z.output<Schema> | BadData {
  if (payload.length > MAX_VALUE_BYTES) return { problem: `expected at most ${MAX_VALUE_BYTES} bytes` };
  const json = parseJson(payload);
  if ('problem' in json) return json;
  const { data, error } = schema.safeParse(json.input);
  if (!error) return data;
  const errors = error.issues.map((issue) => ({
    field: issue.path.join('.').slice(0, 256),
    // A bad key has its reason a level deeper.
    expected: issue.code === 'invalid_key' ? issue.issues.map(({ message }) => message).join(', ') : issue.message,
  }));
  return { problem: describeErrors(errors.slice(0, MOST_ERRORS)) };
}

/** Told of one publication. */
const MOST_ERRORS = 10;

function isFilled(record: object): boolean {
  return Object.keys(record).length > 0;
}

type Optional<Members> = {
  [Name in keyof Members]: null extends Members[Name] ? Name : undefined extends Members[Name] ? Name : never;
}[keyof Members];
type Present<Members> = Omit<Members, Optional<Members>> & {
  [Name in Optional<Members>]?: NonNullable<Members[Name]>;
};

/** Without members that are null or undefined. */
function present<Members extends object>(members: Members): Present<Members> {
  return Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== undefined && value !== null),
  ) as Present<Members>;
}
