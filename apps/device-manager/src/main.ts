import { loadConfig } from '@orrery/core/config';
import { runServices } from '@orrery/core/service';
import { deviceManager } from '@orrery/device-manager';

await runServices([deviceManager], { api: true, worker: true }, loadConfig());
