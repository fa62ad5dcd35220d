/** Name of the service, by which others find it. */
export const SERVICE = 'pipeline';
