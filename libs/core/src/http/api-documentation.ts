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
  return SwaggerModule.createDocument(app, config);
}

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
