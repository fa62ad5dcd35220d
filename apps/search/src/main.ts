import { loadConfig } from '@orrery/core/config';
import { runServices } from '@orrery/core/service';
import { search } from '@orrery/search';

await runServices([search], { api: true, worker: true }, loadConfig());
