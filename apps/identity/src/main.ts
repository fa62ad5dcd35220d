import { loadConfig } from '@orrery/core/config';
import { runServices } from '@orrery/core/service';
import { identity } from '@orrery/identity';

await runServices([identity], { api: true, worker: true }, loadConfig());
