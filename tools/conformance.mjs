import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

// Joins the requirements with the last test results: a requirement is proved when a test that carries its id passes
// and none fails. `--check` fails when the report in the repository is not the one of these results.

const LEDGER = 'docs/conformance/ledger';
const REPORT = 'docs/conformance/REPORT.md';
const RESULTS = 'test-results/jest.json';

/** @returns {{ testResults: Array<{ assertionResults: Array<{ title: string, status: string }> }> }} */
function readResults() {
  try {
    return JSON.parse(readFileSync(RESULTS, 'utf8'));
  } catch (error) {
    console.error(`${RESULTS} cannot be read (${error instanceof Error ? error.message : error}): run npm test first`);
    process.exit(1);
  }
}

/** @type {Map<string, Set<string>>} */
const statuses = new Map();
for (const file of readResults().testResults)
  for (const { title, status } of file.assertionResults)
    for (const id of title.match(/\b[A-Z]{3}-\d{3}\b/g) ?? [])
      statuses.set(id, (statuses.get(id) ?? new Set()).add(status));

const areas = readdirSync(LEDGER)
  .filter((name) => name.endsWith('.tsv'))
  .toSorted()
  .map((name) => {
    const rows = readFileSync(join(LEDGER, name), 'utf8').trim().split('\n').slice(1);
    const ids = rows.map((row) => /** @type {string} */ (row.split('\t')[0]));
    /** @param {string} id */
    const state = (id) => {
      const seen = statuses.get(id);
      return seen?.has('failed') ? 'failing' : seen?.has('passed') ? 'proved' : 'not yet';
    };
    return {
      area: name.slice(0, -4),
      all: ids,
      proved: ids.filter((id) => state(id) === 'proved'),
      failing: ids.filter((id) => state(id) === 'failing'),
      missing: ids.filter((id) => state(id) === 'not yet'),
    };
  });

const known = new Set(areas.flatMap(({ all }) => all));
const unknown = [...statuses.keys()].filter((id) => !known.has(id));
if (unknown.length > 0) {
  console.error(`tests name requirements that do not exist: ${unknown.join(', ')}`);
  process.exit(1);
}

/** @param {(area: (typeof areas)[number]) => string[]} pick */
const sum = (pick) => areas.reduce((total, area) => total + pick(area).length, 0);
/** @param {string[]} ids */
const list = (ids) => (ids.length === 0 ? '' : ids.map((id) => id.slice(4)).join(' '));
const text = `# Conformance

Every requirement of \`docs/conformance/ledger\` against the tests that carry its id. Written by \`npm run conformance\`
from the last \`npm test\`; do not edit.

**${sum((area) => area.proved)} proved, ${sum((area) => area.failing)} failing, ${sum((area) => area.missing)} not yet, of ${known.size}.**

| area | proved | failing | not yet | of |
|---|---:|---:|---:|---:|
${areas.map(({ area, all, proved, failing, missing }) => `| ${area} | ${proved.length} | ${failing.length} | ${missing.length} | ${all.length} |`).join('\n')}

## Proved

${areas
  .filter(({ proved }) => proved.length > 0)
  .map(({ area, proved }) => `- **${area}** ${list(proved)}`)
  .join('\n')}

## Failing

${
  areas
    .filter(({ failing }) => failing.length > 0)
    .map(({ area, failing }) => `- **${area}** ${list(failing)}`)
    .join('\n') || 'None.'
}
`;

if (process.argv.includes('--check')) {
  if (readFileSync(REPORT, 'utf8') !== text) {
    console.error(`${REPORT} is not up to date: run npm run conformance`);
    process.exit(1);
  }
} else {
  writeFileSync(REPORT, text);
  console.log(
    `${REPORT}: ${sum((area) => area.proved)} proved, ${sum((area) => area.failing)} failing of ${known.size}`,
  );
}
