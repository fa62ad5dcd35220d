export * from './api-keys.js';
export { ROLES, type Role } from './roles.js';
