/**
 * What has become of the messages of a run. Messages are known by their numbers.
 *
 * @typedef {object} Account
 * @property {number} published
 * @property {number} acknowledged to the client
 * @property {number} refused by an HTTP status, or by the end of the connection without a PUBACK
 * @property {number} stored different messages
 * @property {number} storedTwice
 * @property {number} lost acknowledged, and not stored
 * @property {number} indexed
 * @property {number} notIndexed stored, as a message or as the event of one, and not found by searches
 * @property {number} evaluated messages of which the rule made exactly one event
 * @property {number} notEvaluated
 * @property {number} evaluatedTwice
 * @property {number} notDecoded by the decoder or the pipeline that was there for it
 * @property {number} inFifo
 * @property {number} fifoLost stored, and not put into the FIFO
 * @property {number} fifoTwice
 * @property {number} fifoDisorder put there before an earlier one of its device
 * @property {number} events that a consumer got from the FIFO of events while things broke
 * @property {number} eventsLost
 * @property {number} eventsAgain delivered again to it, after its connection or its dispatcher was gone
 * @property {number} eventsDisorder of which the first delivery came after a later one's of its device
 * @property {number} pushed to the webhook
 * @property {number} notPushed
 * @property {number} pushedAgain
 *
 * @typedef {object} Found what is there
 * @property {number} published
 * @property {number} refused
 * @property {ReadonlySet<number>} acknowledged
 * @property {readonly StoredRow[]} stored
 * @property {readonly Entry[]} fifo in its order
 * @property {readonly Entry[]} events in the order of delivery
 * @property {ReadonlyMap<number, number>} pushes how often each number
 *
 * @typedef {{ n: number, source: string }} Entry
 *
 * @typedef {object} StoredRow
 * @property {number} n
 * @property {string} source its stream
 * @property {boolean} ordered one after the other of its source
 * @property {boolean} pushed there is a policy for it that calls the webhook
 * @property {boolean} decodable
 * @property {boolean} decoded
 * @property {boolean} indexed
 * @property {number} events that it is the cause of
 * @property {number} events_indexed
 */

/** @param {Found} found @returns {Account} */
export function accountOf(found) {
  const stored = timesOf(found.stored);
  const fifo = timesOf(found.fifo);
  const events = timesOf(found.events);
  const { pushes, acknowledged } = found;
  const numbers = [...stored.keys()];
  const without = (/** @type {ReadonlyMap<number, number>} */ there) => numbers.filter((n) => !there.has(n)).length;
  const twice = (/** @type {ReadonlyMap<number, number>} */ there) => [...there.values()].filter((n) => n > 1).length;
  const again = (/** @type {ReadonlyMap<number, number>} */ there) =>
    [...there.values()].reduce((sum, times) => sum + times - 1, 0);
  const count = (/** @type {(row: StoredRow) => boolean} */ condition) => found.stored.filter(condition).length;
  return {
    published: found.published,
    acknowledged: acknowledged.size,
    refused: found.refused,
    stored: stored.size,
    storedTwice: twice(stored),
    lost: [...acknowledged].filter((n) => !stored.has(n)).length,
    indexed: count((row) => row.indexed && row.events_indexed === row.events),
    notIndexed: count((row) => !row.indexed || row.events_indexed < row.events),
    evaluated: count(({ events: each }) => each === 1),
    notEvaluated: count(({ events: each }) => each === 0),
    evaluatedTwice: count(({ events: each }) => each > 1),
    notDecoded: undecoded(found.stored),
    inFifo: fifo.size,
    fifoLost: without(fifo),
    fifoTwice: twice(fifo),
    fifoDisorder: disorder(found.fifo, found.stored),
    events: events.size,
    eventsLost: without(events),
    eventsAgain: again(events),
    eventsDisorder: disorder(firsts(found.events), found.stored),
    pushed: pushes.size,
    notPushed: count(({ pushed, n }) => pushed && !pushes.has(n)),
    pushedAgain: again(pushes),
  };
}

/** What must not be, in sentences. @param {Account} account @returns {string[]} */
export function problemsOf(account) {
  /** @type {Array<[number, string]>} */
  const wrong = [
    [account.lost, 'were acknowledged and are not stored'],
    [account.storedTwice, 'are stored more than once'],
    [account.notIndexed, 'are stored and not indexed'],
    [account.notEvaluated, 'are stored and not evaluated'],
    [account.evaluatedTwice, 'were evaluated more than once'],
    [account.notDecoded, 'were neither decoded nor transformed as they should have been'],
    [account.fifoLost, 'are stored and not in their FIFO'],
    [account.fifoTwice, 'are more than once in their FIFO'],
    [account.fifoDisorder, 'are in their FIFO after a later one of their device'],
    [account.eventsLost, 'are stored and their event was not delivered from its FIFO'],
    [account.eventsDisorder, 'had their event delivered after that of a later one of their device'],
    [account.notPushed, 'are stored and were not pushed to the webhook'],
  ];
  return wrong.filter(([count]) => count > 0).map(([count, what]) => `${count} messages ${what}.`);
}

/** @param {ReadonlyArray<{ n: number }>} entries @returns {Map<number, number>} */
function timesOf(entries) {
  const times = new Map();
  for (const { n } of entries) times.set(n, (times.get(n) ?? 0) + 1);
  return times;
}

/** @param {readonly Entry[]} entries */
function firsts(entries) {
  const seen = new Set();
  return entries.filter(({ n }) => !seen.has(n) && seen.add(n));
}

/** Entries that come after a higher number of their source. @param {readonly Entry[]} entries @param {readonly StoredRow[]} stored */
function disorder(entries, stored) {
  const ordered = new Set(stored.filter((row) => row.ordered).map(({ source }) => source));
  /** @type {Map<string, number>} */
  const highest = new Map();
  let count = 0;
  for (const { n, source } of entries) {
    if (!ordered.has(source)) continue;
    const before = highest.get(source) ?? -1;
    if (n < before) count++;
    else highest.set(source, n);
  }
  return count;
}

/** Those before the first one are left out: a connector hears of decoders and pipelines a moment after they are made. @param {readonly StoredRow[]} stored */
function undecoded(stored) {
  /** @type {Map<string, number>} */
  const first = new Map();
  for (const { n, source, decoded } of stored)
    if (decoded) first.set(source, Math.min(n, first.get(source) ?? Number.MAX_SAFE_INTEGER));
  return stored.filter(({ n, source, decodable, decoded }) => decodable && !decoded && n > (first.get(source) ?? -1))
    .length;
}
