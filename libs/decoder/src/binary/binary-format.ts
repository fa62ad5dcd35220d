import type { DecodedFields } from '../decoding.js';
import { BitReader } from './bit-reader.js';
import { readWhole, structureReader } from './field-readers.js';
import { parseFormat } from './format-parser.js';

/** A compiled format. Names are in lower case; fields without a name are left out. */
export interface BinaryFormat {
  /**
   * Names as in the format: for templates and the test endpoint. Bytes behind the last field are ignored.
   *
   * @throws DecodingError when the payload does not fit
   */
  decode: (payload: Uint8Array) => DecodedFields;
  /** The same, with arrays called `<name>_list` as in stored messages (manual 11.3.2.2). */
  decodeForMessage: (payload: Uint8Array) => DecodedFields;
}

/**
 * Compiles a format in the language of JBBP 2.0.6 with the types `float`, `double`, `utf8` and `asciichar` (manual
 * 11.3.2). A format of any origin and a payload of any content take a bounded time.
 *
 * @throws DefinitionError with the position of what is wrong
 */
export function compileBinaryFormat(format: string): BinaryFormat {
  const fields = parseFormat(format);
  const plain = structureReader(fields, false);
  const lists = structureReader(fields, true);
  return {
    decode: (payload) => readWhole(plain, new BitReader(payload)),
    decodeForMessage: (payload) => readWhole(lists, new BitReader(payload)),
  };
}
