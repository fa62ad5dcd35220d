/** Name of the service, by which others find it. */
export const SERVICE = 'search';

/** Name of the index's reader: others wait for its positions. */
export const SEARCH_READER = 'search';
