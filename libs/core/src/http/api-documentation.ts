import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import type { FastifyInstance } from 'fastify';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const UI = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
const FILES: Record<string, string> = {
  'index.html': 'text/html',
  'index.css': 'text/css',
  'swagger-ui.css': 'text/css',
  'swagger-ui-bundle.js': 'text/javascript',
  'swagger-ui-standalone-preset.js': 'text/javascript',
  'favicon-32x32.png': 'image/png',
  'favicon-16x16.png': 'image/png',
};
const INITIALIZER = `window.onload = () => { window.ui = SwaggerUIBundle({ url: '/swagger-ui-json', dom_id: '#swagger-ui', deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset], layout: 'StandaloneLayout' }); };`;

/** The description of the REST API. */
export function openApi(app: INestApplication): OpenAPIObject {
  const config = new DocumentBuilder()
    .setTitle('Orrery')
    .setDescription('REST API of Orrery. Each operation names the roles that the API key needs in `x-roles`.')
    .setVersion('1')
    .addApiKey({ type: 'apiKey', in: 'header', name: 'X-API-Key' }, 'apiKey')
    .build();
  const document = SwaggerModule.createDocument(app, config);
  for (const path of Object.values(document.paths))
    for (const operation of Object.values(path as Record<string, Operation>)) {
      operation.description = [operation.description, needs(operation)].filter(Boolean).join('\n\n');
      const refusals = operation['x-public'] ? PUBLIC_REFUSALS : REFUSALS;
      operation.responses = { ...refusals, ...operation.responses };
    }
  return document;
}

interface Operation {
  description?: string;
  responses?: Record<string, unknown>;
  'x-roles'?: string[];
  'x-account-types'?: string[];
  'x-public'?: boolean;
}

function needs({ 'x-roles': roles = [], 'x-account-types': accounts, 'x-public': isPublic }: Operation): string {
  if (isPublic) return 'Needs no API key.';
  const holder = accounts ? ` of an account of type ${accounts.join(' or ')}` : '';
  if (roles.length === 0) return `Needs a valid API key${holder}.`;
  return `Needs an API key${holder} with the role${roles.length > 1 ? 's' : ''} ${roles.join(' and ')}.`;
}

const PUBLIC_REFUSALS = { '400': { description: 'A parameter is wrong: `details` names it and what is expected' } };
const REFUSALS = {
  ...PUBLIC_REFUSALS,
  '401': { description: 'The API key is expired, not yet valid or deactivated' },
  '403': { description: 'No API key, an unknown one, one without the role, or the offer does not allow it' },
  '429': { description: 'A rate limit is reached, see the X-RateLimit headers; the body is empty' },
};

/** Serves the description at `/swagger-ui-json`, and to browse at `/swagger-ui/index.html` (manual 16.1.6). */
export function serveApiDocumentation(app: INestApplication, fastify: FastifyInstance): void {
  let document: OpenAPIObject | undefined;
  fastify.get('/swagger-ui-json', () => (document ??= openApi(app)));
  fastify.get('/swagger-ui', (_request, reply) => reply.redirect('/swagger-ui/index.html'));
  fastify.get('/swagger-ui/swagger-initializer.js', (_request, reply) =>
    reply.type('text/javascript').send(INITIALIZER),
  );
  for (const [file, type] of Object.entries(FILES))
    fastify.get(`/swagger-ui/${file}`, async (_request, reply) =>
      reply.type(type).send(await readFile(join(UI, file))),
    );
}
