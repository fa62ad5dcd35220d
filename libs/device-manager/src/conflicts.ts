import type { Database } from '@orrery/core/database';
import { ApiError, type ErrorCode } from '@orrery/core/http';
import type { EntityManager } from 'typeorm';

// Two requests at once pass every check made before: the constraint decides, and its name tells what happened.
const CONFLICTS: Record<string, ErrorCode> = {
  devices_pkey: 'DM_DEVICE_DUPLICATE',
  interfaces_pkey: 'DM_INTERFACE_DUPLICATE',
  // Two interfaces with one PSK identity could not be told apart.
  interfaces_psk_identity: 'DM_INTERFACE_DUPLICATE',
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

const DEADLOCK = '40P01';
const ATTEMPTS = 5;

/**
 * A change of devices or interfaces in one transaction. Two that each want what the other has, such as its node id or
 * its PSK identity, wait for each other at the index: PostgreSQL ends one of them, which then begins anew and finds
 * what the other one left.
 */
export async function changeInventory<Result>(
  database: Database,
  work: (manager: EntityManager) => Promise<Result>,
): Promise<Result> {
  for (let attempt = 1; ; attempt++)
    try {
      return await explainConflicts(database.transaction(work));
    } catch (error) {
      const { driverError } = error as { driverError?: { code?: unknown } };
      if (driverError?.code !== DEADLOCK || attempt === ATTEMPTS) throw error;
    }
}
