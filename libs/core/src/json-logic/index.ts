export { compileLogic, type Evaluate, LogicError, type LogicOptions, type Operator } from './json-logic.js';
