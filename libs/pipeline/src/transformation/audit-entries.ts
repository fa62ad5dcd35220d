import type { AuditEntry } from '@orrery/core/audit';
import type { DataMessage, MessageHeader } from '@orrery/core/messages';
import type { Logger } from '@orrery/core/telemetry';
import { StepFailure } from './external-transformation.js';

const KIND = { level: 'error', category: 'data', subcategory: 'pipeline' } as const;

const sourceOf = (header: MessageHeader, connector: string, pipelineId: string): NonNullable<AuditEntry['source']> => ({
  pipelineId,
  connector,
  ...(header.deviceId === undefined ? {} : { deviceId: header.deviceId }),
});

/** A message is stored as it came, because a step has failed (manual 11.4.3.1 and 19.2). */
export function failureEntry(
  header: MessageHeader,
  { metadata }: DataMessage,
  pipelineId: string,
  error: unknown,
  logger: Logger,
): AuditEntry {
  const failure = error instanceof StepFailure ? error : undefined;
  if (!failure) logger.error({ pipelineId, error }, 'a pipeline could not be run');
  return {
    ...KIND,
    tenantId: header.tenantId,
    type: 'external_transformation_failed',
    description: `The external transformation failed, and the message is kept as it came: ${failure?.message ?? 'internal error'}`,
    source: sourceOf(header, metadata.connector, pipelineId),
    content: { messageId: header.id, streamId: header.streamId, ...failure?.details },
  };
}

/** A message does not wait for its pipeline, as too many do (manual 23.3). */
export const overflowEntry = (
  header: MessageHeader,
  { metadata }: DataMessage,
  pipelineId: string,
  max: number,
): AuditEntry => ({
  ...KIND,
  tenantId: header.tenantId,
  type: 'too_many_pending_messages',
  description: `Too many pending data messages: ${max} wait for the external transformation, and the message is kept as it came`,
  source: sourceOf(header, metadata.connector, pipelineId),
  content: { messageId: header.id, streamId: header.streamId },
});
