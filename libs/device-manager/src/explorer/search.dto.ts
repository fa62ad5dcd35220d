import { Type } from 'class-transformer';
import { IsArray, IsInt, IsObject, IsOptional, IsString, Min, ValidateNested } from 'class-validator';
import type { InterfaceView } from '../interfaces/interface.dto.js';
import { IsText } from '../text.js';
import { FiltersDto } from './filters.js';

/** Manual 9.4.2. */
export class SearchDto {
  @IsOptional()
  @IsText(0, 256)
  query?: string | null;

  @IsOptional()
  @IsObject({ message: 'an object with queryString and geoBounds' })
  @ValidateNested()
  @Type(() => FiltersDto)
  filters?: FiltersDto | null;

  @IsOptional()
  @IsInt({ message: 'a whole number from 1' })
  @Min(1, { message: 'a whole number from 1' })
  size?: number | null;

  @IsOptional()
  @IsArray({ message: 'an array of sort elements' })
  @IsString({ each: true, message: 'an array of sort elements' })
  sort?: string[] | null;

  @IsOptional()
  @IsArray({ message: 'an array as a response had it' })
  bookmark?: unknown[] | null;
}

export interface ActivityView {
  ruleId: string;
  state: string;
}

export interface LocationView {
  lat: number;
  lon: number;
  alt?: number;
  accuracy?: number;
  provider?: string;
  lastUpdate: string;
}

/** A device as searches show it (manual 9.4.2). */
export interface FoundDevice {
  id: string;
  name?: string;
  description?: string;
  tags: string[];
  properties: Record<string, string>;
  group: { id: string; path: string };
  interfaces?: Array<Omit<InterfaceView, 'deviceId'>>;
  activities?: ActivityView[];
  aggregatedActivityState?: string;
  lastCommunication?: string;
  created: string;
  updated: string;
  location?: LocationView;
  network?: { lora: { lostMessagesRatio: number } };
}

export interface SearchAnswer {
  bookmark: unknown[];
  devices: FoundDevice[];
}
