export { type Config, configSchema, loadConfig } from './config.js';
