import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { type ShownActions, TRIGGER_TYPES, type Triggers } from './policy-document.js';

/** For the description of the API; `parsePolicy` checks what comes in. */
export class ActionPolicyDto {
  @ApiProperty({ readOnly: true, format: 'uuid' }) id!: string;
  @ApiPropertyOptional({ description: 'At most 256 characters' }) name?: string;
  @ApiProperty({ description: '`"true"` and `"false"` are accepted too' }) enabled!: boolean;
  @ApiPropertyOptional({ readOnly: true, description: 'Why the platform disabled the policy' }) suspension?: string;
  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    description: `One of ${TRIGGER_TYPES.join(', ')} with its version (1) and an optional filter; deviceCreated and deviceDeleted may be set together`,
    example: { dataMessage: { version: 1, filter: { tags: [['HIGH', 'ALERT'], ['PROD']] } } },
  })
  triggers!: Triggers;
  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    description:
      'At least one action, at most 10 of each type: `fifoPublish`, `httpPush`, `emails`, `sms`, `azureEventHubs`. ' +
      'The `sharedAccessKey` of `azureEventHubs` is never returned; a policy that is sent back without it keeps it',
    example: {
      fifoPublish: [{ fifoName: 'mydata' }],
      httpPush: [
        {
          webhookUrl: 'https://hooks.myservice.com/services/SOMEWEBHOOKREFERENCE',
          headers: { authorization: ['Bearer 00000000-0000-0000-0000-000000000000'] },
          retryOnFailure: true,
          content: '{"text": "data pushed to stream : {{streamId}}, at {{timestamp}}"}',
        },
      ],
    },
  })
  actions!: ShownActions;
}
