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

const replicas = Number(values.replicas);
if (!Number.isInteger(replicas) || replicas < 1) {
  console.error(`--replicas ${values.replicas}: expected a whole number from 1`);
  process.exit(1);
}

installDependencies();
build();
const { startPlatform } = await import('./platform.mjs');

const starting = startPlatform({
  dataDir: process.env.ORRERY_DATA_DIR ?? '.orrery',
  separate: values.separate,
  replicas,
  log: (line) => console.log(line),
});
let ending = false;
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
  process.on(signal, () => {
    if (ending) return;
    ending = true;
    console.log('\nstopping ...');
    // What is being started is stopped once it is there.
    void starting.then((platform) => platform.stop()).finally(() => process.exit(0));
  });

const platform = await starting.catch((error) => {
  console.error(`Orrery could not start: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
});
const { httpUrl, httpsPort, mqttPort, mqttsPort, caFile, apiKey, vendorApiKey, adminApiKey, login, password } =
  platform;
const { env } = process;
/** @type {Array<[name: string, value: string | undefined, given: string | undefined]>} */
const secrets = [
  ['API key', apiKey, env.ORRERY_BOOTSTRAP_API_KEY],
  ['Vendor API key', vendorApiKey, env.ORRERY_BOOTSTRAP_VENDOR_API_KEY],
  ['Admin API key', adminApiKey, env.ORRERY_BOOTSTRAP_ADMIN_API_KEY],
  ['Password', password, env.ORRERY_BOOTSTRAP_PASSWORD],
];
const made = secrets.filter(([, value, given]) => value && !given).map(([name]) => name);
console.log(`
Orrery is running.

  REST API        ${httpUrl}  (browse it at ${httpUrl}/swagger-ui/index.html)
  MQTT            localhost:${mqttPort}
  MQTT over TLS   localhost:${mqttsPort}, wss://localhost:${httpsPort}/mqtt  (certificate authority: ${caFile})
  REST over TLS   https://localhost:${httpsPort}
  User            ${login}
${secrets
  .map(
    ([name, value, given]) =>
      `  ${name.padEnd(15)} ${given ? 'as it was given' : (value ?? 'shown at the first start')}`,
  )
  .join('\n')}
${made.length > 0 ? '\nKeys and passwords are shown this one time: keep them.\n' : ''}`);
