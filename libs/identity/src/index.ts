import { extendSession, findApiKey } from '@orrery/core/auth';
import { serveRpc } from '@orrery/core/bus';
import type { Service } from '@orrery/core/service';
import { removedTenants } from '@orrery/core/tenants';
import { ApiKey, ApiKeyInForce } from './api-keys/api-key.entity.js';
import { ApiKeysController } from './api-keys/api-keys.controller.js';
import { ApiKeysService } from './api-keys/api-keys.service.js';
import { Followers } from './bss/followers.js';
import { Rule } from './bss/rule.entity.js';
import { RulesController } from './bss/rules.controller.js';
import { RulesService } from './bss/rules.service.js';
import { SubscriptionsController } from './bss/subscriptions.controller.js';
import { SubscriptionsService } from './bss/subscriptions.service.js';
import { CaCertificate } from './certificates/ca-certificate.entity.js';
import { CaCertificatesController } from './certificates/ca-certificates.controller.js';
import { CaCertificatesService } from './certificates/ca-certificates.service.js';
import { createTenant, findCaCertificate, findMasterKey, longestKept } from './contract.js';
import { identityMigrations } from './migrations.js';
import { LoginFailures } from './sessions/login-failures.js';
import { SessionsController } from './sessions/sessions.controller.js';
import { SessionsService } from './sessions/sessions.service.js';
import { CustomersController, VendorsController } from './tenants/customers.controller.js';
import { CustomersService } from './tenants/customers.service.js';
import { Removal } from './tenants/removal.js';
import { Tenant } from './tenants/tenant.entity.js';
import { TenantsController } from './tenants/tenants.controller.js';
import { TenantsService } from './tenants/tenants.service.js';
import { PasswordsController } from './users/passwords.controller.js';
import { PasswordsService } from './users/passwords.service.js';
import { User } from './users/user.entity.js';
import { UserMails } from './users/user-mails.js';
import { UsersController } from './users/users.controller.js';
import { UsersService } from './users/users.service.js';

export { bootstrap, type Bootstrapped } from './tenants/bootstrap.js';

const HOUR_MS = 3_600_000;

/** Tenants, their users and their API keys; answers every service who the holder of a key is. */
export const identity: Service = {
  name: 'identity',
  schema: {
    name: 'identity',
    entities: [Tenant, User, ApiKey, ApiKeyInForce, CaCertificate, Rule],
    migrations: identityMigrations,
  },
  restPaths: [
    '/api/v0/apiKeys',
    '/api/v0/auth',
    '/api/v0/certificates',
    '/api/v0/logout',
    '/api/v0/resetpwd',
    '/api/v0/setpwd',
    '/api/v0/tenants',
    '/api/v0/users',
    '/api/v1/admin',
    '/api/v1/vendor',
  ],
  build({ bus, config, database, jobs, logger, mailer, roles }) {
    const tenants = new TenantsService(database);
    const keys = new ApiKeysService(database);
    const certificates = new CaCertificatesService(database);
    const failures = new LoginFailures(database, {
      failures: config.ORRERY_LOGIN_FAILURES,
      lockMs: config.ORRERY_LOCK_MS,
    });
    const users = new UsersService(database, failures);
    const passwords = new PasswordsService(database, failures);
    const sessions = new SessionsService(database, failures, config.ORRERY_SESSION_TTL_MS);
    const userMails = new UserMails(bus, database, mailer, config);
    let answering: Array<ReturnType<typeof serveRpc>> = [];
    return {
      controllers: [
        ApiKeysController,
        CaCertificatesController,
        CustomersController,
        PasswordsController,
        RulesController,
        SessionsController,
        SubscriptionsController,
        TenantsController,
        UsersController,
        VendorsController,
      ],
      providers: [
        { token: PasswordsService, value: passwords },
        { token: SessionsService, value: sessions },
        { token: UsersService, value: users },
        { token: TenantsService, value: tenants },
        { token: CustomersService, value: new CustomersService(database) },
        { token: RulesService, value: new RulesService(database) },
        { token: SubscriptionsService, value: new SubscriptionsService(database) },
        { token: ApiKeysService, value: keys },
        { token: CaCertificatesService, value: certificates },
      ],
      running: [
        {
          async start() {
            if (!roles.api) return;
            answering = [
              serveRpc(bus, findApiKey, async ({ hash }) => ({ key: (await keys.identify(hash)) ?? null })),
              serveRpc(bus, extendSession, async ({ hash }) => {
                await sessions.extend(hash);
                return {};
              }),
              serveRpc(bus, createTenant, (tenant) => tenants.create(tenant)),
              serveRpc(bus, removedTenants, ({ after }) => tenants.removed(after)),
              serveRpc(bus, longestKept, ({ limit }) => tenants.longestKept(limit)),
              serveRpc(bus, findMasterKey, ({ tenantId }) => tenants.masterKey(tenantId)),
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
        ...(roles.worker
          ? [
              userMails,
              new Followers(bus, database, logger),
              new Removal(database, logger),
              {
                start: () =>
                  jobs.repeat({
                    name: 'identity.expiry',
                    everyMs: HOUR_MS,
                    async run() {
                      await sessions.removeEnded();
                      await passwords.forgetExpired();
                      await failures.forgetOld();
                    },
                  }),
                stop: async () => undefined,
              },
            ]
          : []),
      ],
    };
  },
};
