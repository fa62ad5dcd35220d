import { IsOptional, ValidateBy } from 'class-validator';
import { isText, IsText } from '../text.js';

/** MAC addresses are the same however they are written. */
export const macDigits = (mac: string): string => mac.toLowerCase().replaceAll(/[:.\s-]/g, '');

const IsMac = (): PropertyDecorator =>
  ValidateBy({
    name: 'isMac',
    validator: {
      validate: (value) => isText(value, 1, 64) && macDigits(value) !== '',
      defaultMessage: () => 'a MAC address of up to 64 characters',
    },
  });

/** What a device tells of itself. It is known again by its serial number or its MAC address: one of them is needed. */
export class RegistrationDto {
  @IsOptional()
  @IsText(1, 256)
  name?: string | null;

  @IsOptional()
  @IsText(1, 256)
  sn?: string | null;

  @IsOptional()
  @IsMac()
  mac?: string | null;

  @IsOptional()
  @IsText(1, 128)
  firmware_version?: string | null;

  /** The API key, when it is not in the header. */
  @IsOptional()
  hardware_key?: unknown;
}

export interface RegistrationView {
  /** DEVICE_ID of the device's topics, and its client id and user name. */
  id: string;
  /** Its password. It is not readable again. */
  access_key: string;
  hub_url: string;
  mqtt_hub_url: string;
}
