import { ApiProperty } from '@nestjs/swagger';

/** The tenant of a key, as its holders see it. */
export class TenantView {
  @ApiProperty()
  id!: string;

  @ApiProperty()
  name!: string;
}
