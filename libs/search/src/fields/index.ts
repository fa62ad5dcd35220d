export { type Candidate, FieldRegistry } from './field-registry.js';
export { isPlace, type Leaf, type Leaves, type LeafType, leavesOf, type Refusal } from './leaves.js';
export { TenantFields, type LearnedField } from './tenant-fields.js';
