export { compileLogic, type Evaluate, LogicError, type LogicOptions, type Operator } from './json-logic.js';
export { truthy as isTrue } from './operators.js';
