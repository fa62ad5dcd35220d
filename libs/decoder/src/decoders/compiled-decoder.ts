import { type BinaryFormat, compileBinaryFormat } from '../binary/binary-format.js';
import { compileCsv, type CsvFormat } from '../csv/csv.js';
import { type DecodedFields, DecodingError, DefinitionError } from '../decoding.js';
import { compileDecoderTemplate, type DecoderTemplate } from '../templates/decoder-template.js';
import { type Definition, definitionField, type Kind } from './decoder-document.js';

/** A decoder ready to run. */
export interface CompiledDecoder {
  kind: Kind;
  /** Of the decoders that run in this process. */
  format?: BinaryFormat | CsvFormat;
  /** Of the decoders that run in the sandbox. */
  script?: string;
  template?: DecoderTemplate;
}

/** A part of a decoder that does not compile. */
export class DefinitionFault extends Error {
  readonly field: string;

  /** @param field that the error is about, unless its message begins with one: columns and options do. */
  constructor(field: string, { message, position }: DefinitionError) {
    const [, path, text] = /^((?:columns|options)[\w.[\]]*): (.*)$/s.exec(message) ?? [];
    super(`${text ?? message}${position === undefined ? '' : ` (at character ${position + 1})`}`);
    this.field = path ?? field;
  }
}

/** @throws DefinitionFault Scripts are not looked at: the sandbox does that. */
export function compileDecoder(kind: Kind, definition: Definition, template: string | null): CompiledDecoder {
  return {
    kind,
    ...('script' in definition
      ? { script: definition.script }
      : {
          format: located(definitionField(kind), () =>
            'format' in definition ? compileBinaryFormat(definition.format) : compileCsv(definition),
          ),
        }),
    ...(template === null ? {} : { template: located('template', () => compileDecoderTemplate(template)) }),
  };
}

function located<Result>(field: string, compile: () => Result): Result {
  try {
    return compile();
  } catch (error) {
    if (error instanceof DefinitionError) throw new DefinitionFault(field, error);
    throw error;
  }
}

/**
 * What a decoder that runs in this process makes of a payload.
 * @param stored names arrays as in stored messages (manual 11.3.2.2). Templates name their fields themselves.
 * @throws DecodingError
 */
export function decodeHere({ format, template }: CompiledDecoder, payload: string, stored: boolean): DecodedFields {
  if ('decodeForMessage' in format!) {
    const bytes = Buffer.from(payload, 'hex');
    if (bytes.length * 2 !== payload.length)
      throw new DecodingError(`the payload is not an even number of hexadecimal digits (byte ${bytes.length})`);
    if (stored && !template) return format.decodeForMessage(bytes);
    const fields = format.decode(bytes);
    return template ? template.render(fields) : fields;
  }
  const fields = format!.decode(payload);
  return template ? template.render(fields) : fields;
}
