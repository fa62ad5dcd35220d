import { loadConfig } from '@orrery/core/config';
import { runServices } from '@orrery/core/service';
import { services } from './services.js';

// The platform in two processes: `edge` answers devices and REST, `processing` works on the bus and the clock.
const part = process.argv[2];
if (part !== undefined && part !== 'edge' && part !== 'processing')
  throw new Error(`unknown part "${part}": expected edge, processing or nothing`);
await runServices(services, { api: part !== 'processing', worker: part !== 'edge' }, loadConfig());
