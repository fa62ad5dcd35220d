import { stepsOf } from '../dsl/index.js';
import type { Expression } from '../dsl/tree.js';

/**
 * Elasticsearch compiles 75 different scripts in five minutes, for all who ask it, and refuses the next one: there is this
 * one only, and what it computes is a parameter. `evaluate` in dsl/script.ts does the same.
 */
const MACHINE = `
double[] stack = new double[params.steps.size()];
int top = -1;
for (def step : params.steps) {
  if (step instanceof Number) {
    top += 1;
    stack[top] = ((Number) step).doubleValue();
    continue;
  }
  String word = (String) step;
  if (word.startsWith('$')) {
    top += 1;
    stack[top] = ((Number) params[word]).doubleValue();
    continue;
  }
  if (word == 'neg') {
    stack[top] = -stack[top];
    continue;
  }
  if (word == 'not') {
    stack[top] = stack[top] == 0.0 ? 1.0 : 0.0;
    continue;
  }
  double right = stack[top];
  top -= 1;
  double left = stack[top];
  double result = 0.0;
  if (word == '+') result = left + right;
  else if (word == '-') result = left - right;
  else if (word == '*') result = left * right;
  else if (word == '/') result = left / right;
  else if (word == '%') result = left % right;
  else if (word == '<') result = left < right ? 1.0 : 0.0;
  else if (word == '<=') result = left <= right ? 1.0 : 0.0;
  else if (word == '>') result = left > right ? 1.0 : 0.0;
  else if (word == '>=') result = left >= right ? 1.0 : 0.0;
  else if (word == '==') result = left == right ? 1.0 : 0.0;
  else if (word == '!=') result = left != right ? 1.0 : 0.0;
  else if (word == '&&') result = left != 0.0 && right != 0.0 ? 1.0 : 0.0;
  else result = left != 0.0 || right != 0.0 ? 1.0 : 0.0;
  stack[top] = result;
}
return stack[0] != 0.0;
`;

/** A bucket_selector whose variables have these paths. */
export const selector = (expression: Expression, paths: Readonly<Record<string, string>>): Record<string, unknown> => ({
  // With a sign before them, so that none is the name of a parameter.
  buckets_path: Object.fromEntries(Object.entries(paths).map(([name, path]) => [`$${name}`, path])),
  script: { lang: 'painless', source: MACHINE, params: { steps: stepsOf(expression) } },
});
