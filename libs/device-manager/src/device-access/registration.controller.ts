import { Body, Controller, HttpCode, Inject, Post } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, OutsideApi, Requires } from '@orrery/core/http';
import { RegistrationDto, type RegistrationView } from './registration.dto.js';
import { RegistrationService } from './registration.service.js';

const DESCRIPTION = `Answers the DEVICE_ID and a new ACCESS_KEY, with which the device connects over MQTT 5: both the
client id and the user name are the DEVICE_ID, the password is the ACCESS_KEY. A device with the same \`sn\` or \`mac\` gets
the same DEVICE_ID again; its former ACCESS_KEY ends. The API key is in the header X-API-Key or the field \`hardware_key\`.`;

@ApiTags('Device API')
@Controller('v1/devices')
export class RegistrationController {
  constructor(@Inject(RegistrationService) private readonly registration: RegistrationService) {}

  @Post('register')
  @HttpCode(200)
  @OutsideApi({ keyField: 'hardware_key' })
  @Requires('DEVICE_ACCESS')
  @ApiOperation({ summary: 'Register a device that shall log in with an access key', description: DESCRIPTION })
  @ApiBody({
    schema: {
      type: 'object',
      example: { name: 'Panel 1', sn: 'SN-000001', mac: '00:1A:2B:3C:4D:5E', firmware_version: '1.0.7' },
    },
  })
  @ApiResponse({ status: 200, description: 'id, access_key, hub_url and mqtt_hub_url' })
  register(@Key() key: ApiKeyIdentity, @Body() body: RegistrationDto): Promise<RegistrationView> {
    return this.registration.register(key, body);
  }
}
