import { rm } from 'node:fs/promises';

export default async function teardown() {
  const { orreryTestServices, orreryTestDir } = /** @type {any} */ (globalThis);
  await orreryTestServices?.stop();
  if (orreryTestDir) await rm(orreryTestDir, { recursive: true, force: true });
}
