/**
 * Messages and events that each reader has handled, in all processes together.
 * @param {Array<{ httpPort: number }>} processes
 * @returns {Promise<Record<string, number>>} by the name of the reader
 */
export async function handledBy(processes) {
  /** @type {Record<string, number>} */
  const handled = {};
  for (const { httpPort } of processes) {
    const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
    for (const [, reader = '', count] of text.matchAll(/^orrery_reader_messages_total\{reader="([^"]+)"\} (\d+)/gm))
      handled[reader] = (handled[reader] ?? 0) + Number(count);
  }
  return handled;
}
