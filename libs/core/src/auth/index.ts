export * from './api-keys.js';
export { PROFILES, ROLES, type Role } from './roles.js';
