export {
  bootServices,
  runServices,
  type Running,
  type RunningPlatform,
  type Service,
  type ServiceContext,
  type ServiceRoles,
} from './service.js';
