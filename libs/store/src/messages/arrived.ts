import { defineRpc } from '@orrery/core/bus';

/** A place in the order of arrival. */
export interface ArrivalCursor {
  /** ISO 8601. */
  created: string;
  id: string;
}

/** Messages of a tenant by their arrival: from, inclusive, to, exclusive; ISO 8601. */
export interface ArrivalRange {
  tenantId: string;
  from: string;
  to: string;
}

export interface ArrivedPage {
  /** As JSON texts. */
  messages: string[];
  next?: ArrivalCursor;
}

/**
 * The messages of a tenant in the order of their arrival, some at a time: perhaps none although there are more. Without
 * `next` it was the last page.
 */
export const readArrived = defineRpc<ArrivalRange & { after?: ArrivalCursor }, ArrivedPage>('store', 'readArrived');

/** How many messages of a tenant have arrived in a time. */
export const countArrived = defineRpc<ArrivalRange, { count: number }>('store', 'countArrived');
