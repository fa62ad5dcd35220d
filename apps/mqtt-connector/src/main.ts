import { loadConfig } from '@orrery/core/config';
import { runServices } from '@orrery/core/service';
import { mqttConnector } from '@orrery/mqtt-connector';

await runServices([mqttConnector], { api: true, worker: true }, loadConfig());
