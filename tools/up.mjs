import { parseArgs } from 'node:util';
import { build, installDependencies } from './install.mjs';

const { values } = parseArgs({
  options: {
    separate: { type: 'boolean', default: false },
    replicas: { type: 'string', default: '1' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(`npm run up [-- --separate [--replicas N]]

Installs, builds and starts Orrery with everything it needs. Ctrl-C stops it.
  --separate     one process per service, as in a cluster, instead of two processes
  --replicas N   N processes of each service (with --separate)
The environment variables are listed in docs/reference/configuration.md.`);
  process.exit(0);
}

installDependencies();
build();
const { startPlatform } = await import('./platform.mjs');

/** @type {Awaited<ReturnType<typeof startPlatform>> | undefined} */
let platform;
let ending = false;
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
  process.on(signal, () => {
    if (ending) return;
    ending = true;
    console.log('\nstopping ...');
    void (platform?.stop() ?? Promise.resolve()).then(() => process.exit(0));
  });

try {
  platform = await startPlatform({
    dataDir: process.env.ORRERY_DATA_DIR ?? '.orrery',
    separate: values.separate,
    replicas: Number(values.replicas),
    log: (line) => console.log(line),
  });
} catch (error) {
  console.error(`Orrery could not start: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
const { httpUrl, mqttPort, mqttsPort, caFile, apiKey } = platform;
console.log(`
Orrery is running.

  REST API        ${httpUrl}  (browse it at ${httpUrl}/swagger-ui/index.html)
  MQTT            localhost:${mqttPort}
  MQTT over TLS   localhost:${mqttsPort}  (certificate authority: ${caFile})
  API key         ${apiKey ?? 'shown at the first start'}
${apiKey && !process.env.ORRERY_BOOTSTRAP_API_KEY ? '\nThe API key is shown this one time: keep it.\n' : ''}`);
