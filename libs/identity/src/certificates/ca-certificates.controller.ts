import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post } from '@nestjs/common';
import { ApiNoContentResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, Requires } from '@orrery/core/http';
import { CaCertificateCreation, CaCertificateView, CreatedCaCertificate } from './ca-certificate.dto.js';
import type { CaCertificate } from './ca-certificate.entity.js';
import { CaCertificatesService } from './ca-certificates.service.js';

@ApiTags('CA certificates')
@Controller('api/v0/certificates/ca')
export class CaCertificatesController {
  constructor(@Inject(CaCertificatesService) private readonly certificates: CaCertificatesService) {}

  @Post()
  @HttpCode(200)
  @Requires('API_KEY_W')
  @ApiOkResponse({ type: CreatedCaCertificate })
  async create(@Key() caller: ApiKeyIdentity, @Body() creation: CaCertificateCreation): Promise<CreatedCaCertificate> {
    return { id: await this.certificates.create(caller, creation) };
  }

  @Get()
  @Requires('API_KEY_R')
  @ApiOkResponse({ type: [CaCertificateView] })
  async list(@Key() caller: ApiKeyIdentity): Promise<CaCertificateView[]> {
    return (await this.certificates.list(caller.tenantId)).map(view);
  }

  @Get(':certificateId')
  @Requires('API_KEY_R')
  @ApiOkResponse({ type: CaCertificateView })
  async get(@Key() caller: ApiKeyIdentity, @Param('certificateId') id: string): Promise<CaCertificateView> {
    return view(await this.certificates.get(caller.tenantId, id));
  }

  @Delete(':certificateId')
  @HttpCode(204)
  @Requires('API_KEY_W')
  @ApiNoContentResponse()
  async remove(@Key() caller: ApiKeyIdentity, @Param('certificateId') id: string): Promise<void> {
    await this.certificates.remove(caller.tenantId, id);
  }
}

const view = ({ id, certificate, comment, expires }: CaCertificate): CaCertificateView => ({
  id,
  certificate,
  ...(comment === null ? {} : { comment }),
  expires: expires.toISOString(),
});
