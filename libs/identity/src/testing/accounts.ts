import { type Bus, callRpc } from '@orrery/core/bus';
import { type SectionContents, UNLIMITED_CONTENTS } from '@orrery/core/limits';
import { type ApiAnswer, type ApiClient, apiClient } from '@orrery/core/testing';
import { createTenant } from '../contract.js';
import type { Mailbox } from './mailbox.js';

export const PASSWORD = 'Aa1!aaaa';

export interface UserBody {
  id: string;
  tenantId: string;
  login: string;
  email: string;
  roles: string[];
  state: string;
  mainUser: boolean;
  lastAuthentication?: number;
  code: string;
  details: unknown;
}

export interface SessionBody {
  code: string;
  message: string;
  apiKey: {
    id: string;
    parentId: string;
    tenantId: string;
    userId: string;
    value: string;
    roles: string[];
    sessionKey: boolean;
    sessionTTL: number;
    to: number;
  };
}

/** A tenant as whoever holds its master key sees it. */
export interface Account {
  tenantId: string;
  masterKeyId: string;
  api: ApiClient;
  /** Creates a user; login and address are new unless given. */
  create(fields?: Record<string, unknown>): Promise<ApiAnswer<UserBody>>;
  /** Creates a user that has chosen {@link PASSWORD}. */
  user(fields?: Record<string, unknown>): Promise<UserBody>;
}

/** Makes tenants and users through the doors of a platform. */
export interface Accounts {
  open(settings?: SectionContents): Promise<Account>;
  logIn(login: string, password?: string): Promise<ApiAnswer<SessionBody>>;
  /** Calls REST after a login. */
  session(login: string): Promise<ApiClient>;
  setPassword(tokenId: string, password: string): Promise<ApiAnswer<{ code: string; details: unknown }>>;
}

let count = 0;

export function accounts(url: string, bus: Bus, mailbox: Mailbox): Accounts {
  const anybody = apiClient(url);
  const logIn: Accounts['logIn'] = (login, password = PASSWORD) => anybody.post('/api/v0/auth', { login, password });
  const setPassword: Accounts['setPassword'] = (tokenId, password) =>
    anybody.post('/api/v0/setpwd', { tokenId, password });
  return {
    logIn,
    setPassword,
    async session(login) {
      const { status, body } = await logIn(login);
      if (status !== 200) throw new Error(`login answered ${status}`);
      return apiClient(url, body.apiKey.value);
    },
    async open(settings = UNLIMITED_CONTENTS) {
      const { tenantId, masterKey, masterKeyId } = await callRpc(bus, createTenant, {
        name: `account ${++count}`,
        settings,
      });
      const api = apiClient(url, masterKey);
      const create: Account['create'] = (fields) => {
        const login = `user${++count}`;
        return api.post('/api/v0/users', { login, email: `${login}@example.com`, roles: ['DEVICE_R'], ...fields });
      };
      return {
        tenantId,
        masterKeyId,
        api,
        create,
        async user(fields) {
          const { status, body } = await create(fields);
          if (status !== 200) throw new Error(`creating a user answered ${status}`);
          const chosen = await setPassword(await mailbox.token(body.email), PASSWORD);
          if (chosen.status !== 200) throw new Error(`choosing a password answered ${chosen.status}`);
          return body;
        },
      };
    },
  };
}
