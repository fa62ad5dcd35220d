import { loadConfig } from '@orrery/core/config';
import { runServices } from '@orrery/core/service';
import { routing } from '@orrery/routing';

await runServices([routing], { api: true, worker: true }, loadConfig());
