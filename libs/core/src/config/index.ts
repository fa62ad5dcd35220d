export { type Config, configSchema, isSecretKey, loadConfig } from './config.js';
