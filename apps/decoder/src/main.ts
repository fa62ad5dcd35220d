import { loadConfig } from '@orrery/core/config';
import { runServices } from '@orrery/core/service';
import { decoder } from '@orrery/decoder';

await runServices([decoder], { api: true, worker: true }, loadConfig());
