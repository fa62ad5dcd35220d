import { Controller, Get } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ApiError, Key, Requires } from '@orrery/core/http';
import { lora } from './lora.js';
import { type ConnectivityPlan, LORA_PLANS, LORA_PROFILES } from './lora-catalogue.js';

/** What interfaces of LoRa may choose from (manual 5.5.1.4.3 and 5.5.1.4.6). */
@ApiTags('Device management - Interfaces')
@Controller('api/v1/deviceMgt/connectors/lora')
export class ConnectorsController {
  @Get('connectivities')
  @Requires('DEVICE_R')
  @ApiOperation({ summary: 'List the connectivity plans of LoRa' })
  @ApiResponse({ status: 200, schema: { example: LORA_PLANS } })
  connectivities(@Key() key: ApiKeyIdentity): readonly ConnectivityPlan[] {
    requireLora(key);
    return LORA_PLANS;
  }

  @Get('profiles')
  @Requires('DEVICE_R')
  @ApiOperation({ summary: 'List the profiles of LoRa interfaces' })
  @ApiResponse({ status: 200, schema: { example: LORA_PROFILES } })
  profiles(@Key() key: ApiKeyIdentity): readonly string[] {
    requireLora(key);
    return LORA_PROFILES;
  }
}

function requireLora(key: ApiKeyIdentity): void {
  if (key.disabledSections.includes(lora.section)) throw new ApiError('4030');
}
