import { Body, Controller, HttpCode, Inject, Post } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Public } from '@orrery/core/http';
import { PasswordsService } from './passwords.service.js';
import { PasswordReset, TokenPassword } from './user.dto.js';

@ApiTags('User authentication')
@Controller('api/v0')
export class PasswordsController {
  constructor(@Inject(PasswordsService) private readonly passwords: PasswordsService) {}

  @Post('setpwd')
  @HttpCode(200)
  @Public()
  @ApiOkResponse()
  async set(@Body() { tokenId, password }: TokenPassword): Promise<void> {
    await this.passwords.setByToken(tokenId, password);
  }

  @Post('resetpwd')
  @HttpCode(200)
  @Public()
  @ApiOkResponse()
  async reset(@Body() { userLogin }: PasswordReset): Promise<void> {
    await this.passwords.requestReset(userLogin);
  }
}
