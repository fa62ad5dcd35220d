import { ApiError, type ErrorCode } from '@orrery/core/http';

// Two requests at once pass every check made before: the constraint decides, and its name tells what happened.
const CONFLICTS: Record<string, ErrorCode> = {
  devices_pkey: 'DM_DEVICE_DUPLICATE',
  interfaces_pkey: 'DM_INTERFACE_DUPLICATE',
  groups_node: 'DM_GROUP_DUPLICATE',
  devices_group: 'DM_GROUP_NOT_FOUND',
};

/** Rejects with what the client is told when a constraint of the schema refused the work. */
export async function explainConflicts<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    const constraint = (error as { driverError?: { constraint?: unknown } }).driverError?.constraint;
    const code = typeof constraint === 'string' ? CONFLICTS[constraint] : undefined;
    throw code ? new ApiError(code) : error;
  }
}
