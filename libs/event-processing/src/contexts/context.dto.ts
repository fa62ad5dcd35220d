import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';

// For the description of the API; `parseContext` and `parseGeozone` check what comes in.

export class ContextDto {
  @ApiProperty({ readOnly: true }) contextKey!: string;
  @ApiProperty({ description: 'A primitive, an object or an array', example: 100 }) contextData!: unknown;
  @ApiPropertyOptional({ type: [String] }) tags?: string[];
}

export class PolygonDto {
  @ApiProperty({ enum: ['Polygon'] }) type!: 'Polygon';
  @ApiProperty({
    type: 'array',
    items: { type: 'array', items: { type: 'array', items: { type: 'number' } } },
    description: 'Closed rings of positions: longitude, then latitude, in decimal degrees',
  })
  coordinates!: number[][][];
}

export class GeozoneDto {
  @ApiProperty({ readOnly: true }) zoneId!: string;
  @ApiPropertyOptional() description?: string;
  @ApiProperty({ type: PolygonDto }) geometry!: PolygonDto;
  @ApiPropertyOptional({ type: [String] }) tags?: string[];
  @ApiPropertyOptional({ type: 'object', additionalProperties: true }) properties?: Record<string, unknown>;
}
