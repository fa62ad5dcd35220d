/** @typedef {import('./random.mjs').Random} Random */
/** @typedef {Record<string, unknown>} Json */
/** @typedef {{ tenantId: string, id: string, created: string, source: Json, model?: string }} SearchDocument */

const NAMES = [
  ...'a b temp value type id tags n0 _source é 日本 UPPER a:b x-y constructor toString 0 AND'.split(' '),
  'a b',
  'q"uote',
  'back\\slash',
  "it's",
  '$dollar',
  '%',
];
const WORDS = 'a A b B é É ab AB aB a_b a-b a% % _ * ? \\ " true 12 1.5 0 日本語 ß ss İ i ı I x y z'.split(' ');
const SENTENCES = [
  'The quick brown fox',
  'the lazy dog, the QUICK cat',
  'quick-brown_fox',
  "l’été à l'école",
  'brown quick the fox the quick brown',
  '!!!',
  'a  b\tc\nd',
  '😀 fox 日本語 の fox',
  '2026-03-29T01:30:00Z',
  '',
  ' ',
];
const NUMBERS = [0, 1, 2, 3, 5, -1, -3, 10, 0.5, 1.5, -2.25, 0.1, 100];
const LARGE = [1e15, -1e15, 2 ** 53, 2 ** 53 + 2, 1e-7, -1e-7, 1e21, -1e21, 1e300, 1e-300, 123456789.125];
/** Nights in which the clocks of Paris and New York change, and what is far from them; milliseconds. */
const TIMES = [
  '2026-03-29T00:30:00.000Z',
  '2026-03-29T01:00:00.000Z',
  '2026-10-25T00:30:00.000Z',
  '2026-10-25T01:00:00.000Z',
  '2026-03-08T07:00:00.000Z',
  '2026-11-01T05:59:59.999Z',
  '2026-02-28T23:59:59.999Z',
  '2026-01-01T00:00:00.000Z',
].map((text) => Date.parse(text));
const OLD = ['1969-12-31T23:59:59.999Z', '1970-01-01T00:00:00.000Z', '1900-03-01T12:00:00.000Z'].map((text) =>
  Date.parse(text),
);
const EXTREME = ['0001-01-01T00:00:00.000Z', '9999-12-31T23:59:59.999Z', '1582-10-10T00:00:00.000Z'].map((text) =>
  Date.parse(text),
);

/** @param {Random} random */
export const someTime = (random) =>
  random.pick(TIMES) + (random.integer(96) - 48) * (random.chance(0.6) ? 3_600_000 : 86_400_000 / 2);

/** @param {Random} random */
const longString = (random) =>
  random.pick(['x', 'é', '😀']).repeat(random.pick([200, 257, 300, 5000, 8191, 8192, 9000]));

/** @param {Random} random */
const somePlace = (random) => ({
  lat: (random.integer(random.chance(0.5) ? 400 : 18_001) - (random.chance(0.5) ? 0 : 9000)) / 100,
  lon: (random.integer(random.chance(0.5) ? 400 : 36_001) - (random.chance(0.5) ? 0 : 18_000)) / 100,
});
/** @param {Random} random */
const place = (random) => {
  const { lat, lon } = somePlace(random);
  return { lat: Math.max(-90, Math.min(90, lat)), lon: Math.max(-180, Math.min(180, lon)) };
};

/**
 * What the values of one field are, in all documents of a model: a value, an array, nothing.
 *
 * @param {Random} random
 * @param {number} depth
 * @returns {() => unknown}
 */
function valuesOf(random, depth) {
  const kind = random.integer(depth > 1 ? 11 : 15);
  const absent = random.pick([0, 0.1, 0.5, 0.9]);
  const arrays = random.pick([0, 0, 0.3, 1]);
  /** @type {() => unknown} */
  let one;
  if (kind <= 2) one = () => random.pick(NUMBERS);
  else if (kind === 3) one = () => random.integer(2000) / 8 - 100;
  else if (kind === 4) one = () => random.pick(random.chance(0.5) ? LARGE : NUMBERS);
  else if (kind === 5) one = () => random.chance(0.5);
  else if (kind <= 7) one = () => random.pick(WORDS);
  else if (kind === 8) one = () => random.pick(SENTENCES);
  else if (kind === 9) one = () => new Date(someTime(random)).toISOString();
  else if (kind === 10) one = () => (random.chance(0.2) ? longString(random) : random.pick(WORDS));
  else {
    const inner = membersOf(random, depth + 1, 3);
    one = () => inner();
  }
  return () => {
    if (random.chance(absent)) return random.chance(0.5) ? undefined : random.pick([null, [], [null], {}]);
    if (!random.chance(arrays)) return one();
    const list = Array.from({ length: 1 + random.integer(4) }, one);
    return random.chance(0.1) ? [list, null] : list;
  };
}

/**
 * @param {Random} random
 * @param {number} depth
 * @param {number} most
 * @returns {() => Json}
 */
function membersOf(random, depth, most) {
  /** @type {Map<string, () => unknown>} */
  const members = new Map();
  for (let i = 1 + random.integer(most); i > 0; i--) members.set(random.pick(NAMES), valuesOf(random, depth));
  if (random.chance(0.3)) {
    const many = random.chance(0.3);
    members.set(random.pick(['location', 'Location']), () =>
      random.chance(0.3)
        ? undefined
        : many
          ? Array.from({ length: 1 + random.integer(3) }, () => place(random))
          : random.chance(0.05)
            ? { lat: 91, lon: 0 }
            : place(random),
    );
  }
  return () => {
    /** @type {Array<[string, unknown]>} */
    const entries = [];
    for (const [name, value] of members) {
      const each = value();
      if (each !== undefined) entries.push([name, each]);
    }
    return Object.fromEntries(entries);
  };
}

/**
 * Messages of one account, of two models whose fields have the same names and different types.
 *
 * @param {Random} random
 * @param {string} tenantId
 * @param {number} number of messages
 * @param {number} firstId from which their ids count
 * @returns {SearchDocument[]}
 */
export function randomDocuments(random, tenantId, number, firstId) {
  const models = ['m', random.pick(['k', 'modèle', 'm2', 'a-b'])];
  const makers = models.map(() => membersOf(random, 0, 8));
  const extra = membersOf(random, 1, 2);
  const network = membersOf(random, 1, 2);
  const far = random.chance(0.1) ? EXTREME : random.chance(0.2) ? OLD : TIMES;
  return Array.from({ length: number }, (_, i) => {
    const id = (firstId + i).toString(16).padStart(24, '0');
    const which = random.chance(0.7) ? 0 : 1;
    const model = random.chance(0.95) ? models[which] : undefined;
    // Of the last month there are few: it does not have all fields.
    const month = random.chance(0.02) ? 3 : 1 + random.integer(2);
    const created = `2026-0${month}-1${random.integer(9)}T08:00:00.000Z`;
    const timestamp = new Date(random.chance(0.9) ? someTime(random) : random.pick(far)).toISOString();
    const value = /** @type {() => Json} */ (makers[which])();
    /** @type {Json} */
    const source = {
      id,
      created,
      timestamp,
      streamId: random.pick(['s1', 's2', 'S1', 'urn:lo:nsid:x:1', 'été', 's_1', 's%1']),
      tags: Array.from({ length: random.integer(4) }, () => random.pick(WORDS)),
      model: model ?? null,
      value,
      extra: random.chance(0.3)
        ? { floor: random.pick(WORDS), 'dot.ted': 'x', ...(random.chance(0.5) ? extra() : {}) }
        : null,
      location: random.chance(0.5)
        ? {
            provider: random.pick([null, 'gps', 'cell']),
            alt: random.pick([null, 12.5]),
            accuracy: null,
            ...place(random),
          }
        : null,
      metadata: {
        connector: random.pick(['mqtt', 'http', 'lora']),
        ...(random.chance(0.7) ? { source: random.pick(['urn:lo:nsid:mqtt:d1', 'urn:lo:nsid:mqtt:D1']) } : {}),
        ...(random.chance(0.5) ? { group: { id: random.pick(['root', 'g1']), path: random.pick(['/', '/a/b']) } } : {}),
        ...(random.chance(0.3) ? { network: network() } : {}),
      },
    };
    return { tenantId, id, created, source, ...(model === undefined ? {} : { model }) };
  });
}

/**
 * @typedef {object} KnownField
 * @property {string} name as searches address it
 * @property {string} type as the search knows it
 * @property {unknown[]} values some of those that documents have
 */

/**
 * The fields of these documents, with values to ask for.
 *
 * @param {readonly SearchDocument[]} documents
 * @param {(name: string) => string | undefined} typeOf
 * @returns {KnownField[]}
 */
export function knownFields(documents, typeOf) {
  /** @type {Map<string, unknown[]>} */
  const found = new Map();
  /** @param {string} path @param {unknown} value */
  const visit = (path, value) => {
    if (value === null || value === undefined) return;
    if (Array.isArray(value)) {
      for (const each of value) visit(path, each);
      return;
    }
    if (typeof value === 'object') {
      const { lat, lon } = /** @type {Json} */ (value);
      if (/(^|\.)location$/i.test(path) && typeof lat === 'number' && typeof lon === 'number')
        visitLeaf(`${path}.@geopoint`, { lat, lon });
      for (const [key, each] of Object.entries(value)) visit(path === '' ? key : `${path}.${key}`, each);
      return;
    }
    visitLeaf(path, value);
  };
  /** @param {string} path @param {unknown} value */
  const visitLeaf = (path, value) => {
    const values = found.get(path);
    if (!values) found.set(path, [value]);
    else if (values.length < 40) values.push(value);
  };
  for (const { source, model } of documents)
    for (const [key, value] of Object.entries(source)) {
      if (key !== 'value') visit(key, value);
      else if (model !== undefined) visit(`@${model}.value`, value);
    }
  return [...found].flatMap(([name, values]) => {
    const type = typeOf(name);
    return type === undefined ? [] : [{ name, type, values }];
  });
}
