import { loadConfig } from '@orrery/core/config';
import { runServices } from '@orrery/core/service';
import { pipeline } from '@orrery/pipeline';

await runServices([pipeline], { api: true, worker: true }, loadConfig());
