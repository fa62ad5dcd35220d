import { loadConfig } from '@orrery/core/config';
import { runServices } from '@orrery/core/service';
import { eventProcessing } from '@orrery/event-processing';

await runServices([eventProcessing], { api: true, worker: true }, loadConfig());
