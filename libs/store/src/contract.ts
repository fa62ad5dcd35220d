/** Name of the store's reader: others wait for its positions. */
export const STORE_READER = 'store';
