import { TemplateError } from '@orrery/core/templates';
import { type DecodedFields, DecodingError, DefinitionError } from '../decoding.js';
import { Output } from './output.js';
import { TemplateReader } from './template-reader.js';

export interface DecoderTemplate {
  /**
   * The output fields, made of decoded fields by their plain names.
   * @param output of the payload, when several are rendered for it.
   * @throws DecodingError when the template computes with what is no number, or renders too much.
   */
  render(fields: DecodedFields, output?: Output): DecodedFields;
}

/** Most characters of a template. */
const MAX_TEMPLATE = 65_536;

/**
 * Compiles the template of a decoder (manual 11.3.4): a JSON object with Mustache tags for the fields. It is read once;
 * rendering builds the object without writing or parsing JSON.
 * @throws DefinitionError with the position of what is wrong.
 */
export function compileDecoderTemplate(text: string): DecoderTemplate {
  if (text.length > MAX_TEMPLATE)
    throw new DefinitionError(`a template has at most ${MAX_TEMPLATE} characters`, MAX_TEMPLATE);
  const value = new TemplateReader(text).read();
  return {
    render(fields, output = new Output()) {
      try {
        return value(fields, output) as DecodedFields;
      } catch (error) {
        throw error instanceof TemplateError ? new DecodingError(error.message) : error;
      }
    },
  };
}
