import { Body, Controller, HttpCode, Inject, Post } from '@nestjs/common';
import { ApiNoContentResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, Public, Requires } from '@orrery/core/http';
import { view } from '../api-keys/api-keys.controller.js';
import { Credentials, Session } from './session.dto.js';
import { SessionsService } from './sessions.service.js';

@ApiTags('User authentication')
@Controller('api/v0')
export class SessionsController {
  constructor(@Inject(SessionsService) private readonly sessions: SessionsService) {}

  @Post('auth')
  @HttpCode(200)
  @Public()
  @ApiOkResponse({ type: Session })
  async login(@Body() { login, password }: Credentials): Promise<Session> {
    const { key, value } = await this.sessions.login(login, password);
    const { userId, sessionTtlMs } = key;
    return { apiKey: { ...view(key), value, userId: userId!, sessionKey: true, sessionTTL: sessionTtlMs! } };
  }

  @Post('logout')
  @HttpCode(204)
  @Requires()
  @ApiNoContentResponse()
  async logout(@Key() caller: ApiKeyIdentity): Promise<void> {
    await this.sessions.logout(caller);
  }
}
