import { loadConfig } from '@orrery/core/config';
import { runServices } from '@orrery/core/service';
import { auditLog } from '@orrery/audit-log';

await runServices([auditLog], { api: true, worker: true }, loadConfig());
