import { invalidParameter, invalidParameters } from '@orrery/core/http';
import { describeErrors, type FieldError, MAX_VALUE_BYTES } from '@orrery/core/messages';
import { type CsvColumn, type CsvOptions, DEFAULT_CSV_OPTIONS } from '../csv/csv.js';

export const KINDS = ['binary', 'csv', 'javascript', 'javascript-split'] as const;
export type Kind = (typeof KINDS)[number];

/** What says how payloads are read: of binary decoders, CSV decoders, and both kinds of JavaScript decoders. */
export type Definition = { format: string } | { columns: CsvColumn[]; options: CsvOptions } | { script: string };

/** What a client may set of a decoder (manual 11.3.2.1.1, 11.3.3.1 and 11.3.5). */
export interface DecoderDocument {
  id?: string;
  encoding: string;
  enabled: boolean;
  definition: Definition;
  template: string | null;
  model: string | null;
  tags: string[];
}

/** A definition to try, and the payload to try it on. */
export interface DecoderTest {
  definition: Definition;
  /** What is wrong with the definition already. */
  problem?: string;
  template: string | null;
  payload: string;
}

const MAX_COLUMNS = 1000;
const MAX_TAGS = 10;
/** Characters of what is compiled: large ones are refused by what compiles them, with the position. */
const MAX_TEXT = 1 << 20;

type Fields = Record<string, unknown>;
const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
// PostgreSQL keeps neither NUL nor half a surrogate pair.
const UNKEPT = /[\0\p{Cs}]/u;
const isText = (value: unknown, most: number): value is string =>
  typeof value === 'string' && value.length <= most && !UNKEPT.test(value);
const isName = (value: unknown): value is string => isText(value, 256) && value.trim() !== '' && !/\p{Cc}/u.test(value);

function fieldsOf(body: unknown): Fields {
  if (!isObject(body)) throw invalidParameter('body', 'a JSON object');
  return body;
}

/** @throws GENERIC_INVALID_PARAMETER_ERROR that lists every bad field. Members that are null count as absent. */
export function parseDecoder(kind: Kind, body: unknown): DecoderDocument {
  const fields = fieldsOf(body);
  const errors: FieldError[] = [];
  const { id } = fields;
  const encoding = fields['encoding'];
  if (!isName(encoding)) errors.push({ field: 'encoding', expected: 'a name of 1 to 256 characters (required)' });
  const enabled = fields['enabled'] ?? false;
  if (typeof enabled !== 'boolean') errors.push({ field: 'enabled', expected: 'true or false' });
  const model = fields['model'] ?? '';
  if (!isText(model, 256) || /[ .\p{Cc}]/u.test(model))
    errors.push({ field: 'model', expected: 'a string of at most 256 characters without space and dot' });
  const tags = fields['tags'] ?? [];
  if (!Array.isArray(tags) || tags.length > MAX_TAGS || !tags.every(isName))
    errors.push({ field: 'tags', expected: `at most ${MAX_TAGS} tags of 1 to 256 characters` });
  const definition = parseDefinition(kind, fields, 'format', errors);
  const template = parseTemplate(fields, errors);
  if (errors.length > 0) throw invalidParameters(errors);
  return {
    ...(typeof id === 'string' ? { id } : {}),
    encoding: encoding as string,
    enabled: enabled as boolean,
    definition,
    template,
    model: (model as string) || null,
    tags: tags as string[],
  };
}

/** Where the body of a test has the payload. */
const PAYLOAD_FIELDS: Record<Kind, string> = {
  binary: 'binaryPayloadHexString',
  csv: 'csvPayload',
  javascript: 'payload',
  'javascript-split': 'payload',
};

/** @throws GENERIC_INVALID_PARAMETER_ERROR when something is missing; what is wrong with a definition is for the answer. */
export function parseTest(kind: Kind, body: unknown): DecoderTest {
  const fields = fieldsOf(body);
  const errors: FieldError[] = [];
  const problems: FieldError[] = [];
  const definition = parseDefinition(kind, fields, 'binaryPayloadStructure', problems);
  const given = kind === 'binary' ? 'binaryPayloadStructure' : definitionField(kind);
  if ((fields[given] ?? null) === null) errors.push(...problems);
  const template = parseTemplate(fields, errors);
  const field = PAYLOAD_FIELDS[kind];
  const payload = fields[field];
  if (typeof payload !== 'string' || payload.length > MAX_VALUE_BYTES)
    errors.push({ field, expected: `a string of at most ${MAX_VALUE_BYTES} characters (required)` });
  if (errors.length > 0) throw invalidParameters(errors);
  return {
    definition,
    ...(problems.length > 0 ? { problem: describeErrors(problems) } : {}),
    template,
    payload: payload as string,
  };
}

/** The field that an error of the definition is about. */
export const definitionField = (kind: Kind): string =>
  kind === 'binary' ? 'format' : kind === 'csv' ? 'columns' : 'script';

function parseDefinition(kind: Kind, fields: Fields, formatField: string, errors: FieldError[]): Definition {
  if (kind === 'csv') return parseColumns(fields, errors);
  const field = kind === 'binary' ? formatField : 'script';
  const text = fields[field];
  if (!isText(text, MAX_TEXT))
    errors.push({ field, expected: `a string of at most ${MAX_TEXT} characters (required)` });
  return kind === 'binary' ? { format: text as string } : { script: text as string };
}

function parseTemplate(fields: Fields, errors: FieldError[]): string | null {
  const template = fields['template'] ?? '';
  if (!isText(template, MAX_TEXT))
    errors.push({ field: 'template', expected: `a string of at most ${MAX_TEXT} characters` });
  return (template as string) || null;
}

// Names, types and options of columns are looked at by what compiles them.
function parseColumns(fields: Fields, errors: FieldError[]): Definition {
  const input = fields['columns'];
  const columns: CsvColumn[] = [];
  if (!Array.isArray(input) || input.length > MAX_COLUMNS)
    errors.push({ field: 'columns', expected: `a list of 1 to ${MAX_COLUMNS} columns (required)` });
  else
    input.forEach((column: unknown, i) => {
      const { name, jsonType } = isObject(column) ? column : {};
      if (!isName(name))
        errors.push({ field: `columns[${i}].name`, expected: 'a name of 1 to 256 characters (required)' });
      columns.push({ name: name as string, jsonType: jsonType as CsvColumn['jsonType'] });
    });
  return { columns, options: parseOptions(fields['options'] ?? {}, errors) };
}

function parseOptions(input: unknown, errors: FieldError[]): CsvOptions {
  const options: Fields = { ...DEFAULT_CSV_OPTIONS };
  if (!isObject(input)) errors.push({ field: 'options', expected: 'an object' });
  else
    for (const [name, preset] of Object.entries(DEFAULT_CSV_OPTIONS)) {
      const value = input[name] ?? preset;
      if (typeof value !== typeof preset || (typeof value === 'string' && !isText(value, 256)))
        errors.push({
          field: `options.${name}`,
          expected: typeof preset === 'boolean' ? 'true or false' : 'a short string',
        });
      options[name] = value;
    }
  return options as unknown as CsvOptions;
}
