import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Inject,
  Param,
  Post,
  Put,
  Query,
  Res,
  type Type,
} from '@nestjs/common';
import { ApiBody, ApiCreatedResponse, ApiOkResponse, ApiOperation, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { invalidParameter, Key, Requires } from '@orrery/core/http';
import type { FastifyReply } from 'fastify';
import { jsonText } from '../templates/json-text.js';
import { type Kind, parseDecoder, parseTest } from './decoder-document.js';
import {
  BinaryDecoderDto,
  BinaryTestDto,
  CsvDecoderDto,
  CsvTestDto,
  DecoderDto,
  JavaScriptDecoderDto,
  JavaScriptSplitDecoderDto,
  JavaScriptTestDto,
  summaryOf,
  TestResultDto,
  toDto,
} from './decoder.dto.js';
import { DecodersService, ownerOf, PUBLIC } from './decoders.service.js';

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const checkedId = (id: string): string => {
  if (!UUID.test(id)) throw invalidParameter('decoderId', 'a UUID');
  return id.toLowerCase();
};

type Tags = string | string[] | undefined;
function tagsOf(tags: Tags): string[] {
  const list = tags === undefined ? [] : [tags].flat();
  // PostgreSQL has no notation for it.
  if (list.some((tag) => tag.includes('\0'))) throw invalidParameter('tags', 'text without NUL');
  return list;
}

const ApiTagsQuery = (): MethodDecorator =>
  ApiQuery({ name: 'tags', required: false, type: [String], description: 'Decoders with all of these tags' });

/** Decoders of all types (manual 11.3). */
@ApiTags('Decoders')
@Controller('api/v0/decoders')
export class DecodersController {
  constructor(@Inject(DecodersService) private readonly decoders: DecodersService) {}

  @Get()
  @Requires('DATA_PROCESSING_R')
  @ApiOperation({ summary: 'List the decoders of all types' })
  @ApiTagsQuery()
  @ApiOkResponse({ type: [DecoderDto] })
  async list(@Key() key: ApiKeyIdentity, @Query('tags') tags: Tags): Promise<DecoderDto[]> {
    return (await this.decoders.list(ownerOf(key), undefined, tagsOf(tags))).map(summaryOf);
  }

  @Get('public')
  @Requires('DATA_PROCESSING_R')
  @ApiOperation({
    summary: 'List the public decoders',
    description:
      'Decoders of the administrator, which every tenant can use. A decoder of the tenant goes before a public one of the same encoding.',
  })
  @ApiTagsQuery()
  @ApiOkResponse({ type: [DecoderDto] })
  async listPublic(@Query('tags') tags: Tags): Promise<DecoderDto[]> {
    return (await this.decoders.list(PUBLIC, undefined, tagsOf(tags))).map(summaryOf);
  }
}

/** The operations on decoders of one type, which are the same for all types. */
function controllerOf(
  kind: Kind,
  name: string,
  Dto: Type<DecoderDto>,
  TestDto: Type<object>,
): Type<{ create(key: ApiKeyIdentity, body: unknown): Promise<DecoderDto> }> {
  @ApiTags(`Decoders: ${kind}`)
  @Controller(`api/v0/decoders/${kind}`)
  class KindController {
    constructor(@Inject(DecodersService) private readonly decoders: DecodersService) {}

    @Get()
    @Requires('DATA_PROCESSING_R')
    @ApiOperation({ summary: `List the ${kind} decoders` })
    @ApiTagsQuery()
    @ApiOkResponse({ type: [Dto] })
    async list(@Key() key: ApiKeyIdentity, @Query('tags') tags: Tags): Promise<DecoderDto[]> {
      return (await this.decoders.list(ownerOf(key), kind, tagsOf(tags))).map(toDto);
    }

    @Post()
    @Requires('DATA_PROCESSING_W')
    @ApiOperation({ summary: `Create a ${kind} decoder` })
    @ApiBody({ type: Dto })
    @ApiCreatedResponse({ type: Dto })
    async create(@Key() key: ApiKeyIdentity, @Body() body: unknown): Promise<DecoderDto> {
      return toDto(await this.decoders.create(key, kind, parseDecoder(kind, body)));
    }

    @Post('test')
    @HttpCode(200)
    @Requires('DATA_PROCESSING_R')
    @ApiOperation({ summary: `Try a ${kind} decoder on a payload; nothing is stored` })
    @ApiBody({ type: TestDto })
    @ApiOkResponse({ type: TestResultDto })
    async test(@Key() key: ApiKeyIdentity, @Body() body: unknown, @Res() reply: FastifyReply): Promise<void> {
      const result = await this.decoders.test(key.tenantId, kind, parseTest(kind, body));
      // Written here: JSON.stringify has no notation for 64-bit integers.
      await reply.type('application/json; charset=utf-8').send(jsonText(result));
    }

    @Get(':decoderId')
    @Requires('DATA_PROCESSING_R')
    @ApiOperation({ summary: `Get a ${kind} decoder` })
    @ApiOkResponse({ type: Dto })
    async get(@Key() key: ApiKeyIdentity, @Param('decoderId') id: string): Promise<DecoderDto> {
      return toDto(await this.decoders.get(ownerOf(key), kind, checkedId(id)));
    }

    @Put(':decoderId')
    @Requires('DATA_PROCESSING_W')
    @ApiOperation({ summary: `Replace a ${kind} decoder` })
    @ApiBody({ type: Dto })
    @ApiOkResponse({ type: Dto })
    async update(
      @Key() key: ApiKeyIdentity,
      @Param('decoderId') id: string,
      @Body() body: unknown,
    ): Promise<DecoderDto> {
      return toDto(await this.decoders.update(ownerOf(key), kind, checkedId(id), parseDecoder(kind, body)));
    }

    @Put(':decoderId/enabled')
    @HttpCode(204)
    @Requires('DATA_PROCESSING_W')
    @ApiOperation({ summary: `Enable or disable a ${kind} decoder` })
    @ApiBody({ schema: { type: 'boolean' } })
    async enable(@Key() key: ApiKeyIdentity, @Param('decoderId') id: string, @Body() enabled: unknown): Promise<void> {
      if (typeof enabled !== 'boolean') throw invalidParameter('body', 'true or false');
      await this.decoders.enable(ownerOf(key), kind, checkedId(id), enabled);
    }

    @Delete(':decoderId')
    @HttpCode(204)
    @Requires('DATA_PROCESSING_W')
    @ApiOperation({ summary: `Delete a ${kind} decoder` })
    delete(@Key() key: ApiKeyIdentity, @Param('decoderId') id: string): Promise<void> {
      return this.decoders.delete(ownerOf(key), kind, checkedId(id));
    }
  }
  // The description of the API names operations by it.
  Object.defineProperty(KindController, 'name', { value: name });
  return KindController;
}

export const DECODER_CONTROLLERS: Array<Type<unknown>> = [
  DecodersController,
  controllerOf('binary', 'BinaryDecodersController', BinaryDecoderDto, BinaryTestDto),
  controllerOf('csv', 'CsvDecodersController', CsvDecoderDto, CsvTestDto),
  controllerOf('javascript', 'JavaScriptDecodersController', JavaScriptDecoderDto, JavaScriptTestDto),
  controllerOf('javascript-split', 'JavaScriptSplitDecodersController', JavaScriptSplitDecoderDto, JavaScriptTestDto),
];
