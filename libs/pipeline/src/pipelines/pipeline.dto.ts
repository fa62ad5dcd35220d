import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import type { MessageFilter } from '@orrery/core/messages';
import type { Step } from './pipeline-document.js';

/** For the description of the API; `parsePipeline` checks what comes in. */
export class PipelineDto {
  @ApiProperty({ readOnly: true, format: 'uuid' }) id!: string;
  @ApiProperty({ description: 'At most 1000 characters', example: 'base64 decoding' }) name!: string;
  @ApiPropertyOptional({ description: 'At most 2000 characters' }) description?: string;
  @ApiProperty({
    type: 'integer',
    description:
      'Of the pipelines whose filter a message passes, the one with the lowest level handles it, then the oldest',
    example: 10,
  })
  priorityLevel!: number;
  @ApiProperty({ example: true }) enabled!: boolean;
  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    description: 'Which messages are handled; all when absent. Criteria combine with AND, elements of one list with OR',
    example: {
      connectors: ['mqtt'],
      encodings: ['base64'],
      groupPaths: [{ path: '/europe', includeSubPath: true }],
      tags: [['PROD']],
    },
  })
  filter?: MessageFilter;
  @ApiProperty({
    type: 'array',
    items: { type: 'object', additionalProperties: true },
    description:
      'At least one step of type `externalTransformation`: a URL on port 80, 443, 8080, 8443 or 9243 that gets each message and answers with the transformed one; name and headers are optional. Headers are kept encrypted',
    example: [
      {
        type: 'externalTransformation',
        name: 'base64 external decoder',
        url: 'https://decoder.example.com/base64_decode',
        headers: { 'x-transform-header': ['account-1234'] },
      },
    ],
  })
  steps!: Step[];
  @ApiProperty({ readOnly: true, format: 'date-time' }) created!: string;
}
