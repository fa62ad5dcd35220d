// The package states its types after its code, where nodenext does not find them.
declare module 'json-logic-engine' {
  type Method = (args: unknown[], context: unknown) => unknown;

  export class LogicEngine {
    constructor(methods: object, options: { disableInline: boolean; disableInterpretedOptimization: boolean });
    methods: Record<string, unknown>;
    truthy: (value: unknown) => unknown;
    addMethod(name: string, method: Method): void;
    build(logic: unknown): (context: unknown) => unknown;
  }
  export const defaultMethods: Record<string, unknown>;
  /** Parts of a path, which are separated by dots; `\.` is a dot within a part. */
  export function splitPathMemoized(path: string): string[];
}
