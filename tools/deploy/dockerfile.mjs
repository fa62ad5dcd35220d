/**
 * The instructions of a Dockerfile, each as one line without comments.
 *
 * @param {string} text
 * @returns {Array<{ instruction: string, value: string }>}
 */
export function instructionsOf(text) {
  return text
    .split('\n')
    .filter((line) => !line.trimStart().startsWith('#'))
    .join('\n')
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, instruction = '', value = ''] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
      return { instruction: instruction.toUpperCase(), value };
    });
}

/**
 * What the shell runs in each named stage.
 *
 * @param {string} text of a Dockerfile
 * @returns {Record<string, string[]>}
 */
export function runCommands(text) {
  /** @type {Record<string, string[]>} */
  const stages = {};
  let stage = '';
  for (const { instruction, value } of instructionsOf(text)) {
    if (instruction === 'FROM') stage = / AS (\S+)$/i.exec(value)?.[1] ?? '';
    if (instruction === 'RUN') (stages[stage] ??= []).push(value.replaceAll(/--mount=\S+\s+/g, ''));
  }
  return stages;
}
