import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ApiError, ApiPagingV0, invalidParameter, Key, pageV0, pagingV0, Requires } from '@orrery/core/http';
import {
  isUserState,
  PasswordChange,
  UserActivation,
  UserChanges,
  UserCreation,
  UserPage,
  USER_STATES,
  UserView,
} from './user.dto.js';
import type { User } from './user.entity.js';
import { type UserFilters, UsersService } from './users.service.js';

type ListQuery = Record<string, unknown>;

@ApiTags('Users management')
@Controller('api/v0/users')
export class UsersController {
  constructor(@Inject(UsersService) private readonly users: UsersService) {}

  @Post()
  @HttpCode(200)
  @Requires('USER_W')
  @ApiOkResponse({ type: UserView })
  async create(@Key() caller: ApiKeyIdentity, @Body() creation: UserCreation): Promise<UserView> {
    return view(await this.users.create(caller, creation));
  }

  @Get()
  @Requires('USER_R')
  @ApiPagingV0()
  @ApiQuery({ name: 'login', required: false, type: String })
  @ApiQuery({ name: 'email', required: false, type: String })
  @ApiQuery({ name: 'userState', required: false, enum: USER_STATES, isArray: true })
  @ApiOkResponse({ type: UserPage })
  async list(@Key() caller: ApiKeyIdentity, @Query() query: ListQuery): Promise<UserPage> {
    const paging = pagingV0(query);
    const [users, total] = await this.users.list(caller.tenantId, filters(query), paging);
    return pageV0(paging, total, users.map(view));
  }

  @Get('me')
  @Requires()
  @ApiOkResponse({ type: UserView })
  async me(@Key() caller: ApiKeyIdentity): Promise<UserView> {
    if (!caller.session) throw new ApiError('NOT_FOUND', 'the API key is not of a login');
    return view(await this.users.get(caller.tenantId, caller.session.userId));
  }

  @Post('activateUser')
  @HttpCode(200)
  @Requires('USER_W')
  @ApiOkResponse()
  async activate(@Key() caller: ApiKeyIdentity, @Body() { userId }: UserActivation): Promise<void> {
    await this.users.activate(caller, userId);
  }

  @Get(':userId')
  @Requires('USER_R')
  @ApiOkResponse({ type: UserView })
  async get(@Key() caller: ApiKeyIdentity, @Param('userId') id: string): Promise<UserView> {
    return view(await this.users.get(caller.tenantId, id));
  }

  @Post(':userId')
  @HttpCode(200)
  @Requires('USER_W')
  @ApiOkResponse({ type: UserView })
  async change(
    @Key() caller: ApiKeyIdentity,
    @Param('userId') id: string,
    @Body() changes: UserChanges,
  ): Promise<UserView> {
    return view(await this.users.change(caller, id, changes));
  }

  @Delete(':userId')
  @Requires('USER_W')
  @ApiOkResponse()
  async remove(@Key() caller: ApiKeyIdentity, @Param('userId') id: string): Promise<void> {
    await this.users.remove(caller, id);
  }

  @Post(':userId/password')
  @HttpCode(200)
  @Requires()
  @ApiOkResponse()
  async changePassword(
    @Key() caller: ApiKeyIdentity,
    @Param('userId') id: string,
    @Body() change: PasswordChange,
  ): Promise<void> {
    await this.users.changePassword(caller, id, change);
  }
}

function view(user: User): UserView {
  return {
    id: user.id,
    tenantId: user.tenantId,
    login: user.login,
    email: user.email,
    roles: user.roles,
    state: user.enabled ? 'enabled' : 'disabled',
    mainUser: user.mainUser,
    ...(user.lastAuthentication ? { lastAuthentication: user.lastAuthentication.getTime() } : {}),
  };
}

function filters(query: ListQuery): UserFilters {
  const login = text(query, 'login');
  const email = text(query, 'email');
  const asked = query['userState'];
  const states = asked === undefined ? undefined : [asked].flat();
  if (states && !states.every(isUserState)) throw invalidParameter('userState', `one of ${USER_STATES.join(', ')}`);
  return {
    ...(login === undefined ? {} : { login }),
    ...(email === undefined ? {} : { email }),
    ...(states ? { states } : {}),
  };
}

/** PostgreSQL cannot even compare NUL. */
function text(query: ListQuery, name: string): string | undefined {
  const value = query[name];
  if (value === undefined || (typeof value === 'string' && !value.includes('\0'))) return value;
  throw invalidParameter(name, 'one text without NUL');
}
