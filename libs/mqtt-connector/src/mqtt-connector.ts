import type { WebSocketEndpoints } from '@orrery/core/http';
import type { Running, Service, ServiceContext } from '@orrery/core/service';
import { ApplicationMode } from './application-mode/application-mode.js';
import { ConnectorMode } from './connector-mode/connector-mode.js';
import { DataPublisher } from './data/data-publisher.js';
import { DeviceMode } from './device-mode/device-mode.js';
import { Listeners, MqttPorts } from './server/listeners.js';
import { Admission } from './sessions/admission.js';
import { ConnectionLimits } from './limits/connection-limits.js';
import { ClientCertificates } from './sessions/client-certificates.js';
import { KeyWatch } from './sessions/key-watch.js';
import { V1DeviceMode } from './v1-device/v1-device-mode.js';

/** MQTT 3.1, 3.1.1 and 5 for devices, external connectors and applications (manual 6 and 16.2.2), with and without TLS, and over WebSocket. */
export const mqttConnector: Service = {
  name: 'mqtt-connector',
  restPaths: [],
  build(context: ServiceContext) {
    const ports = new MqttPorts();
    const parts = { controllers: [], providers: [{ token: MqttPorts, value: ports }] };
    // A protocol is an answer to others: processes that only work have none.
    return context.roles.api ? { ...parts, ...endpoint(context, ports) } : { ...parts, running: [] };
  },
};

function endpoint(
  { bus, audit, apiKeys, sharedCounters, heldCounts, config, logger }: ServiceContext,
  ports: MqttPorts,
): { running: Running[]; webSockets: WebSocketEndpoints } {
  const data = new DataPublisher(bus);
  const devices = new DeviceMode(bus, audit, data, sharedCounters);
  const connectors = new ConnectorMode(bus, audit, data, sharedCounters);
  const applications = new ApplicationMode(bus, audit, data, sharedCounters);
  const keyWatch = new KeyWatch(apiKeys, logger);
  const limits = new ConnectionLimits(sharedCounters, heldCounts);
  const v1Devices = new V1DeviceMode(bus, audit, apiKeys, keyWatch, limits, devices);
  const admission = new Admission(
    apiKeys,
    keyWatch,
    new ClientCertificates(bus),
    limits,
    audit,
    logger,
    [devices, connectors, applications],
    v1Devices,
    config.ORRERY_MQTT_DEVICE_HOST?.toLowerCase(),
  );
  const listeners = new Listeners(config, logger, ports, (connection, packet) => admission.connect(connection, packet));
  const running: Running = {
    async start() {
      await data.start();
      keyWatch.start();
      applications.start();
      connectors.start();
      v1Devices.start();
      await devices.start();
      await listeners.start();
    },
    async stop() {
      await listeners.stop();
      keyWatch.stop();
      v1Devices.stop();
      await Promise.all([data.close(), applications.stop(), connectors.stop()]);
      await devices.stop();
    },
  };
  return { running: [running], webSockets: { '/mqtt': listeners } };
}

/** The ports that a process listens on, once it is started. */
export const mqttPorts = (app: { get(token: typeof MqttPorts): MqttPorts }): MqttPorts => app.get(MqttPorts);
