import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import type { AuditEntry, StoredAuditEntry } from '@orrery/core/audit';

/** A message of the audit log (manual 19). Dates are ISO 8601. */
export class AuditMessage implements Omit<StoredAuditEntry, 'tenantId'> {
  @ApiProperty()
  id!: string;

  @ApiProperty({ description: 'when it happened' })
  timestamp!: string;

  @ApiProperty({ description: 'when it was kept' })
  created!: string;

  @ApiProperty({ enum: ['info', 'error'] })
  level!: AuditEntry['level'];

  @ApiProperty({ enum: ['connectivity', 'notification', 'data', 'device_management'] })
  category!: AuditEntry['category'];

  @ApiProperty({ example: 'mqtt' })
  subcategory!: string;

  @ApiProperty({ example: 'bad_topic' })
  type!: string;

  @ApiProperty()
  description!: string;

  @ApiPropertyOptional()
  detailedDescription?: string;

  @ApiPropertyOptional({ type: 'object', additionalProperties: { type: 'string' } })
  source?: NonNullable<AuditEntry['source']>;

  @ApiPropertyOptional({ type: 'object', additionalProperties: true })
  content?: Record<string, unknown>;
}
