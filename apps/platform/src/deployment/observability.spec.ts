import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { registry } from '@orrery/core/telemetry';
import { dashboards } from '../../../../tools/deploy/dashboards.mjs';
import { CHART } from '../../../../tools/helm/chart.mjs';
import { services } from '../services.js';

// Dashboards and alerts ask for metrics that the services have, by labels that these have.

const ROOT = join(CHART, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** Labels of each series, by its name: with those that Prometheus and a scrape add. */
const series = new Map<string, Set<string>>();
const SCRAPED = ['job', 'instance', 'platform'];
beforeAll(() => {
  // Their modules have registered what they measure.
  expect(services.length).toBeGreaterThan(0);
  for (const metric of registry.getMetricsAsArray()) {
    const { name, labelNames = [], type } = metric as unknown as { name: string; labelNames?: string[]; type?: string };
    const labels = new Set([...labelNames, ...SCRAPED]);
    series.set(name, labels);
    if (metric.constructor.name === 'Histogram' || type === 'histogram') {
      series.delete(name);
      series.set(`${name}_count`, labels);
      series.set(`${name}_sum`, labels);
      series.set(`${name}_bucket`, new Set([...labels, 'le']));
    }
  }
  series.set('up', new Set(SCRAPED));
});

const WORDS = new Set(
  'sum max min by on and or absent group_left rate increase changes histogram_quantile topk offset __rate_interval'.split(
    ' ',
  ),
);

/** What is wrong with an expression of PromQL, as far as names go. */
function problemsOf(expression: string): string[] {
  const problems: string[] = [];
  const used: string[] = [];
  let rest = expression.replaceAll(/([a-zA-Z_:][\w:]*)\{([^}]*)\}/g, (_, name: string, matchers: string) => {
    used.push(name);
    const labels = series.get(name);
    if (!labels) problems.push(`there is no metric ${name}`);
    const named = [...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, label]) => label!);
    if (!matchers.includes('platform="orrery"')) problems.push(`${name} is not limited to platform="orrery"`);
    for (const label of named) if (labels && !labels.has(label)) problems.push(`${name} has no label ${label}`);
    return ' ';
  });
  // Each side of an operator has series of its own.
  for (const side of expression.split(/\s(?:and|or|\/|[<>]|==)\s/)) {
    const names = [...side.matchAll(/([a-zA-Z_:][\w:]*)\{/g)].map(([, name]) => name!);
    for (const [, labels] of side.matchAll(/\bby\s*\(([^)]*)\)/g))
      for (const label of labels!.split(',').map((each) => each.trim()))
        for (const name of names)
          if (series.get(name)?.has(label) === false) problems.push(`${name} has no label ${label}`);
  }
  rest = rest.replaceAll(/\b(?:by|on|group_left)\s*\([^)]*\)/g, ' ');
  for (const [word] of rest.replaceAll(/\[[^\]]*\]|\b\d+[smhd]?\b/g, ' ').matchAll(/[a-zA-Z_]\w*/g))
    if (!WORDS.has(word)) problems.push(`${word} is no metric with a selector, and no word that is known here`);
  if (used.length === 0) problems.push('no metric');
  const depth = [...expression].reduce((open, c) => open + (c === '(' ? 1 : c === ')' ? -1 : 0), 0);
  if (depth !== 0) problems.push('parentheses do not match');
  return problems;
}

interface Alert {
  alert: string;
  expr: string;
  labels: { severity: string };
  annotations: { summary: string; runbook: string };
}
const alerts = (): Alert[] =>
  (parse(read('deploy/prometheus/alerts.yml')) as { groups: Array<{ rules: Alert[] }> }).groups.flatMap(
    ({ rules }) => rules,
  );

it('alerts on metrics that exist', () => {
  expect(alerts().length).toBeGreaterThan(8);
  for (const { alert, expr } of alerts())
    expect({ alert, problems: problemsOf(expr) }).toEqual({ alert, problems: [] });
});

it('alerts on readers that exist', () => {
  const named = alerts().flatMap(({ expr }) =>
    [...expr.matchAll(/reader=~?"([^"]*)"/g)].flatMap(([, all]) => all!.split('|')),
  );
  expect(named.length).toBeGreaterThan(3);
  const sources = [
    'store/src/contract.ts',
    'search/src/contract.ts',
    'routing/src/routing/router.ts',
    'event-processing/src/contract.ts',
    'device-manager/src/explorer/device-states.reader.ts',
  ].map((file) => read(`libs/${file}`));
  for (const reader of named) expect(sources.some((source) => source.includes(`'${reader}'`))).toBe(true);
});

it('says with each alert how bad it is, what it is, and where the operations guide goes on', () => {
  const headings = [...read('docs/operations.md').matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
  for (const { alert, labels, annotations } of alerts()) {
    expect(alert).toMatch(/^Orrery[A-Z]\w+$/);
    expect(['warning', 'critical']).toContain(labels.severity);
    expect(annotations.summary.length).toBeGreaterThan(10);
    const [file, anchor] = annotations.runbook.split('#');
    expect(file).toBe('docs/operations.md');
    expect({ alert, anchor: headings.filter((heading) => heading === anchor) }).toEqual({ alert, anchor: [anchor] });
  }
});

it('draws metrics that exist, on dashboards that are up to date', () => {
  for (const [path, text] of Object.entries(dashboards())) {
    if (read(path) !== text) throw new Error(`${path} is not up to date: run node tools/deploy/dashboards.mjs`);
    const { panels } = JSON.parse(text) as {
      panels: Array<{ id: number; title: string; targets?: Array<{ expr: string }> }>;
    };
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { title, targets = [] } of panels)
      for (const { expr } of targets) expect({ title, problems: problemsOf(expr) }).toEqual({ title, problems: [] });
  }
});

it('shows every metric of the services on a dashboard', () => {
  const drawn = Object.values(dashboards()).join('\n');
  const metrics = registry.getMetricsAsArray().map(({ name }) => name);
  const own = metrics.filter((name) => name.startsWith('orrery_'));
  expect(own.length).toBeGreaterThanOrEqual(10);
  expect(own.filter((name) => !drawn.includes(name))).toEqual([]);
});

it.each([
  ['sum(rate(orrery_bus_publishd_total{platform="orrery"}[5m]))', /no metric orrery_bus_publishd_total/],
  ['orrery_http_request_seconds{platform="orrery"}', /no metric orrery_http_request_seconds/],
  ['orrery_mqtt_sessions{platform="orrery",tenant="a"}', /no label tenant/],
  ['sum by (reader) (orrery_mqtt_sessions{platform="orrery"})', /no label reader/],
  ['orrery_mqtt_sessions', /orrery_mqtt_sessions is no metric with a selector/],
  ['orrery_mqtt_sessions{mode="device"}', /not limited/],
  ['sum(orrery_mqtt_sessions{platform="orrery"}', /parentheses/],
  ['1 > 0', /no metric/],
])('notices what is wrong with %s', (expression, problem) => {
  expect(problemsOf(expression).join('\n')).toMatch(problem);
});
