// Node has it; its types come with the browser's, which are not used here.
declare namespace WebAssembly {
  class Module {}
  class Memory {
    /** Sizes in pages of 64 KiB. */
    constructor(size: { initial: number; maximum: number });
    readonly buffer: ArrayBuffer;
  }
  function compile(binary: Uint8Array): Promise<Module>;
}
