import { loadConfig } from '@orrery/core/config';
import { runServices } from '@orrery/core/service';
import { store } from '@orrery/store';

await runServices([store], { api: true, worker: true }, loadConfig());
