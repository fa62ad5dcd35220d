import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Patch, Post, Query, Req, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ApiPagingV1, ForAccounts, Key, pageV1, pagingV1, Requires, wantsTotal } from '@orrery/core/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CustomersService } from './customers.service.js';
import {
  CustomerCreation,
  ManagedTenantView,
  managedView,
  VendorChanges,
  VendorCreation,
  VendorView,
  vendorView,
} from './tenant.dto.js';

@ApiTags('vendor: customers')
@ForAccounts('VENDOR', 'ADMIN')
@Controller('api/v1/vendor/customers')
export class CustomersController {
  constructor(@Inject(CustomersService) private readonly customers: CustomersService) {}

  @Post()
  @Requires('SETTINGS_W')
  @ApiCreatedResponse({ type: ManagedTenantView })
  async create(@Key() caller: ApiKeyIdentity, @Body() creation: CustomerCreation): Promise<ManagedTenantView> {
    return managedView(await this.customers.createCustomer(caller, creation));
  }

  @Get()
  @Requires('SETTINGS_R')
  @ApiPagingV1()
  @ApiOkResponse({ type: [ManagedTenantView] })
  async list(
    @Key() caller: ApiKeyIdentity,
    @Query() query: Record<string, unknown>,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ManagedTenantView[]> {
    const paging = pagingV1(query);
    const [tenants, total] = await this.customers.list(caller, paging);
    return pageV1(reply, paging.limit, tenants.map(managedView), wantsTotal(request) ? total : undefined);
  }

  @Get(':tenantId')
  @Requires('SETTINGS_R')
  @ApiOkResponse({ type: ManagedTenantView })
  async get(@Key() caller: ApiKeyIdentity, @Param('tenantId') id: string): Promise<ManagedTenantView> {
    return managedView(await this.customers.get(caller, id));
  }

  @Delete(':tenantId')
  @HttpCode(204)
  @Requires('SETTINGS_W')
  @ApiNoContentResponse({ description: 'the tenant is removed after 7 days, unless it is activated again' })
  orderRemoval(@Key() caller: ApiKeyIdentity, @Param('tenantId') id: string): Promise<void> {
    return this.customers.orderRemoval(caller, id);
  }
}

@ApiTags('administration: vendors')
@ForAccounts('ADMIN')
@Controller('api/v1/admin/vendors')
export class VendorsController {
  constructor(@Inject(CustomersService) private readonly customers: CustomersService) {}

  @Post()
  @Requires('SETTINGS_W')
  @ApiCreatedResponse({ type: VendorView })
  async create(@Key() caller: ApiKeyIdentity, @Body() creation: VendorCreation): Promise<VendorView> {
    return vendorView(await this.customers.createVendor(caller, creation));
  }

  @Get()
  @Requires('SETTINGS_R')
  @ApiPagingV1()
  @ApiOkResponse({ type: [VendorView] })
  async list(
    @Query() query: Record<string, unknown>,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<VendorView[]> {
    const paging = pagingV1(query);
    const [vendors, total] = await this.customers.vendors(paging);
    return pageV1(reply, paging.limit, vendors.map(vendorView), wantsTotal(request) ? total : undefined);
  }

  @Patch(':tenantId')
  @Requires('SETTINGS_W')
  @ApiOkResponse({ type: VendorView })
  async change(
    @Key() caller: ApiKeyIdentity,
    @Param('tenantId') id: string,
    @Body() { supportVendorIds }: VendorChanges,
  ): Promise<VendorView> {
    return vendorView(await this.customers.setSupportVendors(caller, id, supportVendorIds));
  }
}
