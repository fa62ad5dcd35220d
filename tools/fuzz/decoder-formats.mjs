/** @typedef {import('./random.mjs').Random} Random */

const TYPES = ['bit', 'bool', 'byte', 'ubyte', 'short', 'ushort', 'int', 'uint', 'long', 'float', 'double'];
const STRINGS = ['utf8', 'asciichar'];
const OPERATORS = ['+', '-', '*', '/', '%', '&', '|', '^', '<<', '>>', '>>>'];
const PIECES = [
  ...TYPES,
  ...STRINGS,
  ...OPERATORS,
  ...'skip align val reset$$ var floatj < > : ; ; { } [ ] [_] ( ) ~ $$ _ . // a b A é 😀'.split(' '),
  ...'0 1 8 2147483647 2147483648 -1 99999999999999999999 __proto__ constructor'.split(' '),
  '\n',
  ' ',
  '\u0000',
];

/**
 * A format that mostly compiles, with names that only look alike where they may.
 *
 * @param {Random} random
 * @param {{ strings?: boolean }} [options] whether to use the types that hold strings
 */
export function randomFormat(random, { strings = true } = {}) {
  let names = 0;
  let fields = 1 + random.integer(random.chance(0.02) ? 400 : 8);

  /** @param {string[]} known @param {number} depth @returns {string} */
  const expression = (known, depth = 0) => {
    if (depth > 3 || random.chance(0.4)) {
      if (known.length > 0 && random.chance(0.7)) return random.pick(known);
      return random.chance(0.1) ? '$$' : String(random.integer(random.chance(0.05) ? 2 ** 31 : 6));
    }
    if (random.chance(0.15)) return `${random.pick(['-', '~'])}(${expression(known, depth + 1)})`;
    const both = `${expression(known, depth + 1)}${random.pick(OPERATORS)}${expression(known, depth + 1)}`;
    return random.chance(0.5) ? `(${both})` : both;
  };

  /** @param {string[]} outer @param {number} depth @returns {string} */
  const structure = (outer, depth) => {
    const known = [...outer];
    let text = '';
    for (let i = 1 + random.integer(4); (depth === 0 || i > 0) && fields > 0; i--, fields--) {
      const name = random.chance(0.9) ? `n${names++}` : '';
      const size = random.chance(0.3)
        ? `[${random.chance(0.3) ? 1 + random.integer(5) : random.chance(0.1) ? '_' : expression(known)}]`
        : '';
      const order = random.chance(0.2) ? '<' : '';
      const kind = random.integer(20);
      if (kind === 0) text += `skip:(${expression(known)});`;
      else if (kind === 1) text += `align:${1 + random.integer(5)};`;
      else if (kind === 2) text += 'reset$$;';
      else if (kind <= 4) text += `val:(${expression(known)}) v${names};`;
      else if (kind <= 7 && depth < 6) text += `${name}${size}{${structure(known, depth + 1)}}`;
      else if (kind === 8 && strings) text += `${order}${random.pick(STRINGS)}${size} ${name};`;
      else {
        const type = random.pick(TYPES);
        const bits = type !== 'bit' ? '' : random.chance(0.2) ? `:(${expression(known)})` : `:${1 + random.integer(8)}`;
        text += `${order}${type}${bits}${size} ${name};`;
        if (name && !size) known.push(name);
      }
      if (kind === 3 || kind === 4) known.push(`v${names++}`);
    }
    return text;
  };
  return structure([], 0);
}

/**
 * A format with a few characters or words changed, dropped or doubled.
 *
 * @param {string} format
 * @param {Random} random
 */
export function spoiledFormat(format, random) {
  let spoiled = format;
  for (let i = 1 + random.integer(3); i > 0; i--) {
    const at = random.integer(spoiled.length + 1);
    const to = at + random.integer(4);
    const inserted = random.chance(0.6)
      ? random.pick(PIECES)
      : random.chance(0.5)
        ? spoiled.slice(at, to).repeat(2)
        : '';
    spoiled = spoiled.slice(0, at) + inserted + spoiled.slice(random.chance(0.5) ? to : at);
  }
  return spoiled;
}

/**
 * Words of the language, and what is none, in no order.
 *
 * @param {Random} random
 */
export function randomWords(random) {
  return Array.from({ length: 1 + random.integer(random.chance(0.02) ? 4000 : 20) }, () => random.pick(PIECES)).join(
    random.chance(0.5) ? '' : ' ',
  );
}

/** Formats that ask for as much as one can. */
export const GREEDY_FORMATS = [
  's[50000]{}',
  's[1000000000]{val:1 x;}',
  'ubyte n; s[n*8421504]{val:1 x;}',
  's[200]{t[100]{val:1 x;}}',
  's[_]{val:1 x;}',
  's[_]{skip:0;}',
  's[_]{align;}',
  's[_]{reset$$;}',
  's[_]{bit a;}',
  'bit[_] a;',
  'bit:4 a; utf8[_] b;',
  'bit:4 a; ubyte[_] b;',
  'long[_] a;',
  'float[_] a;',
  'double[_] a;',
  'utf8[_] a;',
  'ushort n; utf8[n*n] a;',
  's[_]{utf8 a;}',
  's[_]{float a; float b;}',
  's[_]{ubyte n; t[n]{u[n]{val:(n) x;}}}',
  `s[_]{ubyte a; val:(${'a+'.repeat(190)}a) x;}`,
  `s[2000]{val:(${'(1+'.repeat(31)}1${')'.repeat(31)}) x;}`,
  `${'val:1 x;'.replaceAll('x', 'y')}${Array.from({ length: 900 }, (_, i) => `val:(y+${i}) x${i};`).join('')}`,
  `${Array.from({ length: 32 }, (_, i) => `s${i}[2]{`).join('')}val:1 x;${'}'.repeat(32)}`,
  `${Array.from({ length: 32 }, (_, i) => `s${i}{`).join('')}ubyte[_] x;${'}'.repeat(32)}`,
  `${'a'.repeat(16_000)};`,
  `int ${'a'.repeat(16_000)};`,
  `int a; ubyte[${'a+'.repeat(8000)}a] b;`,
  `ubyte[${'('.repeat(16_000)}] b;`,
  `ubyte[${'-'.repeat(16_000)}1] b;`,
  `ubyte[${'a.'.repeat(8000)}a] b;`,
  'bit;'.repeat(4000),
  's{'.repeat(8000),
  '{'.repeat(16_000),
  '['.repeat(16_000),
  ' '.repeat(16_000),
  '//'.repeat(8000),
  `${'//\n'.repeat(5000)}int a;`,
  `val:(${' '.repeat(16_000)}1) a;`,
];

/**
 * @param {Random} random
 * @returns {Buffer}
 */
export function randomPayload(random) {
  const size = random.chance(0.002)
    ? random.integer(200_000)
    : random.chance(0.1)
      ? random.integer(2000)
      : random.integer(40);
  const payload = Buffer.allocUnsafe(size);
  // Small numbers often, since what counts elements would be too high otherwise.
  const below = random.pick([2, 4, 256]);
  for (let i = 0; i < size; i++) payload[i] = random.integer(below);
  return payload;
}
