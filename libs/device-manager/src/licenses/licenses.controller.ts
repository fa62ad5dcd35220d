import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Put } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, Requires } from '@orrery/core/http';
import { LicenseDto, type LicenseView } from './license.dto.js';
import { LicensesService } from './licenses.service.js';

const ApiLicense = (): MethodDecorator =>
  ApiBody({ schema: { type: 'object', example: { data: 'device-specific license', signature: 'RSA signature' } } });

@ApiTags('Device management - Device API')
@Controller('api/v1/deviceMgt/devices/:deviceId/licenses')
export class LicensesController {
  constructor(@Inject(LicensesService) private readonly licenses: LicensesService) {}

  @Post()
  @Requires('DEVICE_W')
  @ApiOperation({ summary: 'Give a device a license: it is told to add it (v1/device/DEVICE_ID/license)' })
  @ApiLicense()
  @ApiResponse({ status: 201, description: 'The license, pending until the device answers' })
  create(
    @Key() { tenantId }: ApiKeyIdentity,
    @Param('deviceId') deviceId: string,
    @Body() body: LicenseDto,
  ): Promise<LicenseView> {
    return this.licenses.create(tenantId, deviceId, body);
  }

  @Get()
  @Requires('DEVICE_R')
  @ApiOperation({ summary: 'List the licenses of a device, with those that it has removed' })
  @ApiResponse({ status: 200, description: 'The licenses' })
  list(@Key() { tenantId }: ApiKeyIdentity, @Param('deviceId') deviceId: string): Promise<LicenseView[]> {
    return this.licenses.list(tenantId, deviceId);
  }

  @Put(':licenseId')
  @Requires('DEVICE_W')
  @ApiOperation({ summary: 'Replace a license: the device is told to update it' })
  @ApiLicense()
  @ApiResponse({ status: 200, description: 'The license, pending until the device answers' })
  update(
    @Key() { tenantId }: ApiKeyIdentity,
    @Param('deviceId') deviceId: string,
    @Param('licenseId') licenseId: string,
    @Body() body: LicenseDto,
  ): Promise<LicenseView> {
    return this.licenses.update(tenantId, deviceId, licenseId, body);
  }

  @Delete(':licenseId')
  @HttpCode(202)
  @Requires('DEVICE_W')
  @ApiOperation({ summary: 'Take a license back: the device is told to remove it' })
  @ApiResponse({ status: 202, description: 'The license, pending until the device answers' })
  remove(
    @Key() { tenantId }: ApiKeyIdentity,
    @Param('deviceId') deviceId: string,
    @Param('licenseId') licenseId: string,
  ): Promise<LicenseView> {
    return this.licenses.remove(tenantId, deviceId, licenseId);
  }
}
