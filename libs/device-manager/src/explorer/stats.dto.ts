import { Type } from 'class-transformer';
import { Allow, IsBoolean, IsObject, IsOptional, ValidateNested } from 'class-validator';
import { FiltersDto } from './filters.js';

class StatsOptionsDto {
  @IsOptional()
  @IsBoolean({ message: 'true or false' })
  includeTotalKeys?: boolean | null;

  @IsOptional()
  @IsBoolean({ message: 'true or false' })
  includeMissingDevicesCount?: boolean | null;

  @IsOptional()
  @IsBoolean({ message: 'true or false' })
  includeGeoBoundsInBuckets?: boolean | null;
}

/** Manual 9.3. */
export class StatsDto {
  @IsOptional()
  @IsObject({ message: 'an object with queryString and geoBounds' })
  @ValidateNested()
  @Type(() => FiltersDto)
  filters?: FiltersDto | null;

  /** Read by `parseGroupBy`: its shape depends on what it groups by. */
  @Allow()
  groupBy?: unknown;

  @IsOptional()
  @IsObject({ message: 'an object of options' })
  @ValidateNested()
  @Type(() => StatsOptionsDto)
  options?: StatsOptionsDto | null;
}

export interface FieldBucket {
  key: string | string[];
  /** Components, where these are grouped, and otherwise devices. */
  count: number;
  devices: number;
  fieldAggregation?: FieldAggregation;
}

export interface FieldAggregation {
  /** With those that are in no bucket, because they have no value or a rarer one. */
  count: number;
  devices: number;
  buckets: FieldBucket[];
  keys?: number;
  missing?: number;
}

export interface Position {
  lat: number;
  lon: number;
}

export interface GeoBounds {
  topLeft: Position;
  bottomRight: Position;
}

export interface GeoBucket {
  /** Mean position of the devices. */
  geoKey: Position;
  geoBounds?: GeoBounds;
  devices: number;
  fieldAggregation?: FieldAggregation;
}

export interface GeoAggregation {
  count: number;
  devices: number;
  buckets: GeoBucket[];
  /** Of all devices in the buckets; absent when there is none. */
  geoBounds?: GeoBounds;
  keys?: number;
  missing?: number;
}

export interface StatsAnswer {
  devices: number;
  fieldAggregation?: FieldAggregation;
  geoAggregation?: GeoAggregation;
}
