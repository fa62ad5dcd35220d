export { MAX_BUCKETS } from './aggregations/limits.js';
export { BUCKET_KINDS, PIPELINE_KINDS } from './aggregations/parse.js';
export { DateFormat, lettersOf } from './dates.js';
export { fieldName, geopointField, isLocation, MESSAGE_FIELDS } from './fields.js';
export { parseSearch } from './parse.js';
export { evaluate, stepsOf } from './script.js';
export * from './tree.js';
export { variantsOf, WORD_CHARACTERS, words } from './words.js';
