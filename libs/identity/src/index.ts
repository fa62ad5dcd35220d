import { findApiKey } from '@orrery/core/auth';
import { serveRpc } from '@orrery/core/bus';
import type { Service } from '@orrery/core/service';
import { ApiKey, ApiKeyInForce } from './api-keys/api-key.entity.js';
import { ApiKeysController } from './api-keys/api-keys.controller.js';
import { ApiKeysService } from './api-keys/api-keys.service.js';
import { CaCertificate } from './certificates/ca-certificate.entity.js';
import { CaCertificatesController } from './certificates/ca-certificates.controller.js';
import { CaCertificatesService } from './certificates/ca-certificates.service.js';
import { createTenant, findCaCertificate } from './contract.js';
import { identityMigrations } from './migrations.js';
import { Tenant } from './tenants/tenant.entity.js';
import { TenantsController } from './tenants/tenants.controller.js';
import { TenantsService } from './tenants/tenants.service.js';
import { User } from './users/user.entity.js';

export { bootstrapTenant } from './tenants/tenants.service.js';

/** Tenants and their API keys; answers every service who the holder of a key is. */
export const identity: Service = {
  name: 'identity',
  schema: {
    name: 'identity',
    entities: [Tenant, User, ApiKey, ApiKeyInForce, CaCertificate],
    migrations: identityMigrations,
  },
  restPaths: ['/api/v0/apiKeys', '/api/v0/certificates', '/api/v0/tenants'],
  build({ bus, database, roles }) {
    const tenants = new TenantsService(database);
    const keys = new ApiKeysService(database);
    const certificates = new CaCertificatesService(database);
    let answering: Array<ReturnType<typeof serveRpc>> = [];
    return {
      controllers: [ApiKeysController, CaCertificatesController, TenantsController],
      providers: [
        { token: TenantsService, value: tenants },
        { token: ApiKeysService, value: keys },
        { token: CaCertificatesService, value: certificates },
      ],
      running: [
        {
          async start() {
            if (!roles.api) return;
            answering = [
              serveRpc(bus, findApiKey, async ({ hash }) => ({ key: (await keys.identify(hash)) ?? null })),
              serveRpc(bus, createTenant, (tenant) => tenants.create(tenant)),
              serveRpc(bus, findCaCertificate, async ({ tenantId, id }) => {
                const { certificate } = await certificates.get(tenantId, id);
                return { certificate };
              }),
            ];
          },
          async stop() {
            await Promise.all(answering.map((each) => each.drain()));
          },
        },
      ],
    };
  },
};
