import {
  at,
  clauseAt,
  integerAt,
  listOf,
  objectAt,
  onlyMember,
  refuse,
  textAt,
  type Json,
  type Reading,
  wordAt,
} from '../clause.js';
import { parseExpression } from '../script.js';
import { type Aggregation, type BucketOrder, type BucketPath } from '../tree.js';
import { MAX_BUCKETS } from './limits.js';
import { pathAt } from './paths.js';

const gapsOf = (path: string, clause: Json): 'skip' | 'insert_zeros' =>
  wordAt(at(path, 'gap_policy'), clause['gap_policy'], ['skip', 'insert_zeros'], 'skip');

export function parseSelector(_reading: Reading, path: string, value: unknown): Aggregation {
  const clause = clauseAt(path, value, ['buckets_path', 'script', 'gap_policy']);
  const pathsAt = at(path, 'buckets_path');
  const entries = Object.entries(objectAt(pathsAt, clause['buckets_path']));
  if (entries.length === 0 || entries.length > 20) throw refuse(pathsAt, '1 to 20 variables');
  const paths: Record<string, BucketPath> = Object.fromEntries(
    entries.map(([name, each]) => {
      const where = at(pathsAt, name);
      if (!/^[A-Za-z_]\w{0,99}$/.test(name) || name.startsWith('__'))
        throw refuse(where, 'a name of letters, digits and _');
      return [name, pathAt(where, each)];
    }),
  );
  const scriptPath = at(path, 'script');
  const given = clause['script'];
  const script =
    typeof given === 'string' ? { source: given } : clauseAt(scriptPath, given, ['inline', 'source', 'lang']);
  wordAt(at(scriptPath, 'lang'), script['lang'], ['expression', 'painless'], 'expression');
  const key = script['inline'] === undefined ? 'source' : 'inline';
  const source = textAt(at(scriptPath, key), script[key]);
  try {
    return {
      kind: 'bucket_selector',
      paths,
      script: parseExpression(source, new Set(Object.keys(paths))),
      gaps: gapsOf(path, clause),
    };
  } catch (error) {
    throw refuse(at(scriptPath, key), `an expression: ${(error as Error).message}`);
  }
}

export function parseBucketSort(_reading: Reading, path: string, value: unknown): Aggregation {
  const clause = clauseAt(path, value, ['sort', 'from', 'size', 'gap_policy']);
  const sortPath = at(path, 'sort');
  const sort =
    clause['sort'] === undefined ? [] : listOf(clause['sort']).map((each, i) => bucketSort(at(sortPath, i), each));
  if (sort.length > 10) throw refuse(sortPath, 'at most 10 orders');
  const from = clause['from'] === undefined ? 0 : integerAt(at(path, 'from'), clause['from'], 0, MAX_BUCKETS);
  if (sort.length === 0 && from === 0 && clause['size'] === undefined) throw refuse(path, 'sort, from or size');
  return {
    kind: 'bucket_sort',
    sort,
    from,
    ...(clause['size'] === undefined ? {} : { size: integerAt(at(path, 'size'), clause['size'], 1, MAX_BUCKETS) }),
    gaps: gapsOf(path, clause),
  };
}

/** `"path"`, `{ path: "desc" }` or `{ path: { order: "desc" } }`. */
function bucketSort(path: string, value: unknown): BucketOrder {
  if (typeof value === 'string') return { path: pathAt(path, value), descending: false };
  const [name, body] = onlyMember(path, value, 'what to sort by');
  const order = typeof body === 'string' ? body : clauseAt(at(path, name), body, ['order'])['order'];
  return {
    path: pathAt(at(path, name), name),
    descending: wordAt(at(path, name), order, ['asc', 'desc'], 'asc') === 'desc',
  };
}
