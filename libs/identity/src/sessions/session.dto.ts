import { ApiProperty } from '@nestjs/swagger';
import { IsString, MaxLength } from 'class-validator';
import { CreatedApiKey } from '../api-keys/api-key.dto.js';

const LOGIN = { message: 'the login of a user, of at most 254 characters' };
const PASSWORD = { message: 'the password of the user, of at most 1024 characters' };

export class Credentials {
  @ApiProperty()
  @IsString(LOGIN)
  @MaxLength(254, LOGIN)
  login!: string;

  @ApiProperty()
  @IsString(PASSWORD)
  @MaxLength(1024, PASSWORD)
  password!: string;
}

/** The key of a login. `to` moves with each use. */
export class SessionKey extends CreatedApiKey {
  @ApiProperty()
  userId!: string;

  @ApiProperty()
  sessionKey!: boolean;

  @ApiProperty({ description: 'milliseconds from the last use of the key to its end' })
  sessionTTL!: number;
}

export class Session {
  @ApiProperty({ type: SessionKey })
  apiKey!: SessionKey;
}
