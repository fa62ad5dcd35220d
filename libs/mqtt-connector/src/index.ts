export { mqttConnector, mqttPorts } from './mqtt-connector.js';
export { MqttPorts } from './server/listeners.js';
