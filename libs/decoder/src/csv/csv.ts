import { type DecodedFields, DecodingError, DefinitionError } from '../decoding.js';
import { CsvRow } from './csv-row.js';

export const JSON_TYPES = ['STRING', 'NUMERIC', 'BOOLEAN'] as const;

export interface CsvColumn {
  name: string;
  jsonType: (typeof JSON_TYPES)[number];
}

/** Manual 11.3.3.1, table 8. All are one character, but the line feed separator. */
export interface CsvOptions {
  quoteChar: string;
  columnSeparator: string;
  /** One to 10 characters. A carriage return before the default one belongs to it. */
  lineFeedSeparator: string;
  /** Whether `escapeChar` takes the character after it as it is. */
  useEscapeChar: boolean;
  escapeChar: string;
  /** Whether white space around values is removed. */
  skipWhiteSpace: boolean;
}

export const DEFAULT_CSV_OPTIONS: CsvOptions = {
  quoteChar: '"',
  columnSeparator: ',',
  lineFeedSeparator: '\n',
  useEscapeChar: false,
  escapeChar: '\\',
  skipWhiteSpace: false,
};

export interface CsvFormat {
  /**
   * Decodes the first row of a payload.
   * @throws DecodingError when the row does not have the columns, or a value not the type of its column.
   */
  decode(payload: string): DecodedFields;
}

const MAX_COLUMNS = 1000;
const MAX_NAME = 256;
const MAX_LINE_FEED = 10;

/**
 * Compiles the description of a CSV decoder (manual 11.3.3). Options that are absent have their default.
 * @throws DefinitionError that names the column or the option that is wrong.
 */
export function compileCsv({ columns, options }: { columns: CsvColumn[]; options?: Partial<CsvOptions> }): CsvFormat {
  const complete = { ...DEFAULT_CSV_OPTIONS, ...options };
  checkColumns(columns);
  checkOptions(complete);
  const readers = columns.map(({ name, jsonType }) => ({ name, read: READERS[jsonType] }));
  const row = new CsvRow(complete, columns.length);
  return {
    decode(payload) {
      const cells = row.read(payload);
      const fields: DecodedFields = {};
      for (let i = 0; i < readers.length; i++) {
        const { name, read } = readers[i]!;
        fields[name] = read(cells[i]!, name);
      }
      return fields;
    },
  };
}

function checkColumns(columns: CsvColumn[]): void {
  if (columns.length === 0 || columns.length > MAX_COLUMNS)
    throw new DefinitionError(`columns: expected 1 to ${MAX_COLUMNS} columns`);
  const names = new Set<string>();
  columns.forEach(({ name, jsonType }, i) => {
    if (!JSON_TYPES.includes(jsonType))
      throw new DefinitionError(`columns[${i}].jsonType: expected one of ${JSON_TYPES.join(', ')}`);
    if (name.length === 0 || name.length > MAX_NAME)
      throw new DefinitionError(`columns[${i}].name: expected 1 to ${MAX_NAME} characters`);
    // Dots separate the levels of a path in searches; the other name could not be assigned.
    if (name.includes('.') || name === '__proto__')
      throw new DefinitionError(`columns[${i}].name: expected a name without dots, not ${name}`);
    if (names.has(name)) throw new DefinitionError(`columns[${i}].name: another column is named ${name}`);
    names.add(name);
  });
}

function checkOptions(options: CsvOptions): void {
  const characters: Array<'columnSeparator' | 'quoteChar' | 'escapeChar'> = ['columnSeparator', 'quoteChar'];
  if (options.useEscapeChar) characters.push('escapeChar');
  const { lineFeedSeparator } = options;
  if (lineFeedSeparator.length === 0 || lineFeedSeparator.length > MAX_LINE_FEED)
    throw new DefinitionError(`options.lineFeedSeparator: expected 1 to ${MAX_LINE_FEED} characters`);
  const taken = new Map<string, string>();
  for (const option of characters) {
    const character = options[option];
    if ([...character].length !== 1) throw new DefinitionError(`options.${option}: expected one character`);
    const other = taken.get(character);
    if (other !== undefined) throw new DefinitionError(`options.${option}: expected another character than ${other}`);
    // Otherwise one of the two would never be found.
    if (lineFeedSeparator.startsWith(character))
      throw new DefinitionError(`options.lineFeedSeparator: expected another first character than ${option}`);
    taken.set(character, option);
  }
}

type Reader = (cell: string, name: string) => unknown;

const NUMBER = /^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$/;

const READERS: Record<CsvColumn['jsonType'], Reader> = {
  STRING: (cell) => cell,
  // A JSON number is a double: long ones lose digits (11.3.3.1.2).
  NUMERIC: (cell, name) => {
    const number = NUMBER.test(cell) ? Number(cell) : Infinity;
    if (!Number.isFinite(number)) throw new DecodingError(`column ${name}: expected a number, not ${shown(cell)}`);
    return number;
  },
  BOOLEAN: (cell, name) => {
    const text = cell.trim();
    if (text === 'true') return true;
    if (text === 'false') return false;
    throw new DecodingError(`column ${name}: expected true or false, not ${shown(cell)}`);
  },
};

const shown = (cell: string): string => JSON.stringify(cell.length > 40 ? `${cell.slice(0, 40)}…` : cell);
