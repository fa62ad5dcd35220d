export { compileLogic, type Evaluate, LogicError, type LogicOptions, type Operator } from './json-logic.js';
export { charge, truthy as isTrue } from './operators.js';
