import { IsText } from '../text.js';

/** All licenses of a device travel in one answer of the bus. */
export const LONGEST_DATA = 16_384;
export const LONGEST_SIGNATURE = 2048;

/** Both are passed on to the device as they are. */
export class LicenseDto {
  @IsText(1, LONGEST_DATA)
  data!: string;

  @IsText(1, LONGEST_SIGNATURE)
  signature!: string;
}

export interface LicenseView {
  id: string;
  data: string;
  signature: string;
  /** What the device has to do, or has done last. */
  operation: 'add' | 'update' | 'remove';
  /** Pending until the device answers. */
  state: 'pending' | 'inuse' | 'removed' | 'error';
  error?: string;
  created: string;
  updated: string;
}
