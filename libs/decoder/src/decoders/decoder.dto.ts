import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { JSON_TYPES } from '../csv/csv.js';
import { KINDS, type Kind } from './decoder-document.js';
import type { Decoder } from './decoder.entity.js';

// For the description of the API; decoder-document.ts checks what comes in.

/** A decoder without what is particular to its type. */
export class DecoderDto {
  @ApiProperty({ readOnly: true, format: 'uuid' }) id!: string;
  @ApiProperty({ readOnly: true, enum: KINDS }) type!: Kind;
  @ApiProperty({ description: 'Name by which messages and interfaces refer to the decoder', example: 'twointegers' })
  encoding!: string;
  @ApiPropertyOptional({ default: false }) enabled?: boolean;
  @ApiPropertyOptional({
    description: 'What the decoded fields become: a JSON object with Mustache tags',
    example: '{"temperature": "{{temperature}}/10"}',
  })
  template?: string;
  @ApiPropertyOptional({ description: 'Replaces the model of decoded messages', example: 'model_twointegers' })
  model?: string;
  @ApiPropertyOptional({ type: [String], description: 'At most 10, to find decoders by' }) tags?: string[];
  @ApiProperty({ readOnly: true, example: '2026-05-15T07:55:55.555Z' }) updated!: string;
}

export class BinaryDecoderDto extends DecoderDto {
  @ApiProperty({
    description: 'Format of the payload in the language of JBBP 2.0.6, with float, double, utf8 and asciichar',
    example: 'int pressure;int temperature;',
  })
  format!: string;
}

export class ColumnDto {
  @ApiProperty({ example: 'temperature' }) name!: string;
  @ApiProperty({ enum: JSON_TYPES }) jsonType!: string;
}

export class CsvOptionsDto {
  @ApiPropertyOptional({ default: '"' }) quoteChar?: string;
  @ApiPropertyOptional({ default: ',' }) columnSeparator?: string;
  @ApiPropertyOptional({ default: '\n' }) lineFeedSeparator?: string;
  @ApiPropertyOptional({ default: false }) useEscapeChar?: boolean;
  @ApiPropertyOptional({ default: '\\' }) escapeChar?: string;
  @ApiPropertyOptional({ default: false, description: 'Trims values' }) skipWhiteSpace?: boolean;
}

export class CsvDecoderDto extends DecoderDto {
  @ApiProperty({ type: [ColumnDto] }) columns!: ColumnDto[];
  @ApiPropertyOptional({ type: CsvOptionsDto }) options?: CsvOptionsDto;
}

export class JavaScriptDecoderDto extends DecoderDto {
  @ApiProperty({
    description: 'Defines decode(payload), which returns the object that is merged into the value of the message',
    example: 'function decode(payload) { return { n: parseInt(payload, 16) }; }',
  })
  script!: string;
}

export class JavaScriptSplitDecoderDto extends DecoderDto {
  @ApiProperty({
    description:
      'Defines decode(payload), which returns an array of at most 1000 items {value, timestamp?}: one message each',
    example: 'function decode(payload) { return [{ value: { n: 1 } }, { value: { n: 2 } }]; }',
  })
  script!: string;
}

export class BinaryTestDto {
  @ApiProperty({ example: 'int pressure; int temperature;' }) binaryPayloadStructure!: string;
  @ApiProperty({ example: '000003F5000000DD' }) binaryPayloadHexString!: string;
  @ApiPropertyOptional({ example: '{"temperature": "{{temperature}}/10"}' }) template?: string;
}

export class CsvTestDto {
  @ApiProperty({ type: [ColumnDto] }) columns!: ColumnDto[];
  @ApiPropertyOptional({ type: CsvOptionsDto }) options?: CsvOptionsDto;
  @ApiProperty({ example: 'celsius,250,true' }) csvPayload!: string;
  @ApiPropertyOptional() template?: string;
}

export class JavaScriptTestDto {
  @ApiProperty({ example: 'function decode(payload) { return { n: parseInt(payload, 16) }; }' }) script!: string;
  @ApiProperty({ example: '0A' }) payload!: string;
  @ApiPropertyOptional() template?: string;
}

export class TestResultDto {
  @ApiProperty({ description: 'false when the decoder itself is wrong' }) descriptionValid!: boolean;
  @ApiProperty({ description: 'false when the payload could not be decoded' }) parsingOk!: boolean;
  @ApiPropertyOptional({ type: 'object', additionalProperties: true, description: 'An array for split decoders' })
  decodingResult?: Record<string, unknown>;
  @ApiPropertyOptional() decodingFailureReason?: string;
}

export const summaryOf = (decoder: Decoder): DecoderDto => ({
  id: decoder.id,
  type: decoder.kind,
  encoding: decoder.encoding,
  enabled: decoder.enabled,
  ...(decoder.template === null ? {} : { template: decoder.template }),
  ...(decoder.model === null ? {} : { model: decoder.model }),
  tags: decoder.tags,
  updated: decoder.updated.toISOString(),
});

export const toDto = (decoder: Decoder): DecoderDto => ({ ...summaryOf(decoder), ...decoder.definition });
