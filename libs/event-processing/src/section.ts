/** Section of the offer that switches event processing off (manual 21.2). */
export const SECTION = 'eventProcessing';
