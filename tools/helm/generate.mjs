import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generatedFiles } from './generated-files.mjs';

// Writes the files of the chart that are made from the services. Run after a build; npm test compares them.
const root = join(import.meta.dirname, '../..');
const { services } = await import(join(root, 'apps/platform/dist/services.js'));
for (const [path, text] of Object.entries(generatedFiles(services))) writeFileSync(join(root, path), text);
