export { compileTemplate, RenderingWork, type Lookup, type SectionFunction, type Template } from './template.js';
export { parseTemplate, TemplateError, type Token } from './tokens.js';
