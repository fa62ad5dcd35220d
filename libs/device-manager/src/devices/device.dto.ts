import { Transform, Type } from 'class-transformer';
import { IsArray, IsObject, IsOptional, Matches, ValidateBy, ValidateNested } from 'class-validator';
import { checkStreamId, DEVICE_ID } from '@orrery/core/messages';
import { CreateInterfaceDto, interfaceView, type InterfaceView } from '../interfaces/interface.dto.js';
import type { Interface } from '../interfaces/interface.entity.js';
import { isText, IsText } from '../text.js';
import type { Device, StaticLocation } from './device.entity.js';

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const IsProperties = (): PropertyDecorator =>
  ValidateBy({
    name: 'isProperties',
    validator: {
      validate: (value) =>
        isMap(value) && Object.entries(value).every(([name, text]) => isText(name, 1, 256) && isText(text, 0, 1024)),
      defaultMessage: () => 'a map of names (1 to 256 characters) to strings (up to 1024 characters)',
    },
  });

const within = (value: unknown, bound: number): boolean =>
  typeof value === 'number' && Number.isFinite(value) && Math.abs(value) <= bound;

/** @param removable accepts the empty object, by which an update removes the location (manual 15.3.2). */
const IsStaticLocation = (removable = false): PropertyDecorator =>
  ValidateBy({
    name: 'isStaticLocation',
    validator: {
      validate: (value) =>
        isMap(value) &&
        ((removable && Object.keys(value).length === 0) ||
          (within(value['lat'], 90) &&
            within(value['lon'], 180) &&
            (value['alt'] === undefined || value['alt'] === null || within(value['alt'], 10_000)))),
      defaultMessage: () => 'lat from -90 to 90, lon from -180 to 180, and optionally alt from -10000 to 10000',
    },
  });

const IsStreamId = (): PropertyDecorator =>
  ValidateBy({
    name: 'isStreamId',
    validator: {
      validate: (value) => checkStreamId(value) === undefined,
      defaultMessage: () => checkStreamId('')!.expected,
    },
  });

export class GroupReferenceDto {
  @IsOptional()
  @IsText(1, 256)
  id?: string | null;

  @IsOptional()
  @IsText(1, 4096)
  path?: string | null;
}

/** What a client may change of a device; null restores the default of a registration. */
export class UpdateDeviceDto {
  @IsOptional()
  @IsText(0, 256)
  name?: string | null;

  @IsOptional()
  @IsText(0, 2048)
  description?: string | null;

  @IsOptional()
  @IsStreamId()
  defaultDataStreamId?: string | null;

  @IsOptional()
  @IsArray({ message: 'an array of strings' })
  @IsText(1, 256, { each: true })
  tags?: string[] | null;

  // As it came: class-transformer would leave out names such as toString.
  @Transform(({ obj }: { obj: UpdateDeviceDto }) => obj.properties)
  @IsOptional()
  @IsProperties()
  properties?: Record<string, string> | null;

  @IsOptional()
  @IsObject({ message: 'an object with the id or the path of a group' })
  @ValidateNested()
  @Type(() => GroupReferenceDto)
  group?: GroupReferenceDto | null;

  @IsOptional()
  @IsStaticLocation(true)
  staticLocation?: StaticLocation | Record<string, never> | null;
}

/** Manual 5.3.1.1. */
export class CreateDeviceDto extends UpdateDeviceDto {
  @Matches(DEVICE_ID, { message: 'urn:lo:nsid:{ns}:{id}, ns of letters, digits, `_` and `-`, id with `:` too' })
  id!: string;

  @IsOptional()
  @IsStaticLocation()
  override staticLocation?: StaticLocation | null;

  @IsOptional()
  @IsArray({ message: 'an array of interfaces' })
  @ValidateNested({ each: true })
  @Type(() => CreateInterfaceDto)
  interfaces?: CreateInterfaceDto[] | null;
}

/** Manual 5.2.1.2. */
export interface DeviceView {
  id: string;
  name?: string;
  description?: string;
  group: { id: string; path: string };
  defaultDataStreamId: string;
  tags: string[];
  properties: Record<string, string>;
  activityState: string;
  interfaces?: InterfaceView[];
  created: string;
  updated: string;
  staticLocation?: StaticLocation;
}

/** @param device with its group loaded */
export const deviceView = (device: Device, interfaces: Interface[]): DeviceView => ({
  id: device.id,
  ...(device.name === null ? {} : { name: device.name }),
  ...(device.description === null ? {} : { description: device.description }),
  group: { id: device.groupId, path: device.group!.path },
  defaultDataStreamId: device.defaultDataStreamId,
  tags: device.tags,
  properties: device.properties,
  activityState: device.activityState,
  ...(interfaces.length === 0 ? {} : { interfaces: interfaces.map(interfaceView) }),
  created: device.created.toISOString(),
  updated: device.updated.toISOString(),
  ...(device.staticLocation === null ? {} : { staticLocation: device.staticLocation }),
});
