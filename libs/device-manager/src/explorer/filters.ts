import { Type } from 'class-transformer';
import { IsNumber, IsObject, IsOptional, Max, Min, ValidateNested } from 'class-validator';
import { invalidParameter } from '@orrery/core/http';
import { arrayField, booleanField, mapField, textField } from '../rsql/fields.js';
import { compileRsql, type Dialect, type Field, type Operator } from '../rsql/rsql.js';
import { IsText } from '../text.js';
import type { Statement } from './statement.js';

class PositionDto {
  @IsNumber({}, { message: 'a number from -90 to 90' })
  @Min(-90, { message: 'a number from -90 to 90' })
  @Max(90, { message: 'a number from -90 to 90' })
  lat!: number;

  @IsNumber({}, { message: 'a number from -180 to 180' })
  @Min(-180, { message: 'a number from -180 to 180' })
  @Max(180, { message: 'a number from -180 to 180' })
  lon!: number;
}

const IsPosition = (): PropertyDecorator => (target, key) => {
  IsObject({ message: 'an object with lat and lon' })(target, key);
  ValidateNested()(target, key);
  Type(() => PositionDto)(target, key);
};

export class GeoBoundsDto {
  @IsPosition()
  topLeft!: PositionDto;

  @IsPosition()
  bottomRight!: PositionDto;
}

/** Manual 9.2.2: what is given must all hold. */
export class FiltersDto {
  @IsOptional()
  @IsObject({ message: 'an object with topLeft and bottomRight' })
  @ValidateNested()
  @Type(() => GeoBoundsDto)
  geoBounds?: GeoBoundsDto | null;

  @IsOptional()
  @IsText(0, 512)
  queryString?: string | null;
}

const operators: readonly Operator[] = ['==', '!=', '=in='];
const options = { operators, prefixes: true } as const;
const text = (expression: string): Field => textField(expression, options);

const path = textField('p.path', options);
// An array that is found once: groups are few, and their devices are found by an index.
const groupPath: Field = {
  ...path,
  sql: (test, bind) =>
    `d.group_id = ANY(ARRAY(SELECT p.id FROM groups p WHERE p.tenant_id = $1 AND ${path.sql(test, bind)}))`,
};

/** The lower bound belongs to a range, the upper one does not, except the last (manual 9.2.2). */
export const lostMessagesRange = (ratio: string): string =>
  `CASE WHEN ${ratio} < 0.1 THEN '0-10%' WHEN ${ratio} < 0.2 THEN '10-20%' WHEN ${ratio} < 0.3 THEN '20-30%' WHEN ${ratio} <= 1 THEN '30-100%' END`;

const ofDevice = (table: string, alias: string) => (condition: string) =>
  `EXISTS (SELECT 1 FROM ${table} ${alias} WHERE ${alias}.tenant_id = d.tenant_id AND ${alias}.device_id = d.id AND ${condition})`;

/** Fields of a `queryString` (manual 9.2.2), for devices `d` of the tenant `$1` with their states `s`. */
const EXPLORER_FILTER: Dialect = {
  fields: {
    id: text('d.id'),
    name: text('d.name'),
    'group.path': groupPath,
    groupPath,
    'group.id': text('d.group_id'),
    groupId: text('d.group_id'),
    tags: arrayField('d.tags', { ...options, inMeansAll: false }),
    aggregatedActivityState: text('s.activity_state'),
    'network.lora.lostMessagesRangeLabel': text(`(${lostMessagesRange('s.lora_lost_messages_ratio')})`),
  },
  keyed: { 'property.': mapField('d.properties', options) },
  nested: {
    properties: {
      some: (condition) => `EXISTS (SELECT 1 FROM jsonb_each_text(d.properties) AS p (k, v) WHERE ${condition})`,
      fields: { k: text('p.k'), v: text('p.v') },
    },
    interfaces: {
      some: ofDevice('interfaces', 'i'),
      fields: {
        connector: text('i.connector'),
        nodeId: text('i.node_id'),
        enabled: booleanField('i.enabled'),
        status: text('i.status'),
        'definition.profile': text(`(i.definition ->> 'profile')`),
      },
    },
    activities: {
      some: ofDevice('activities', 'a'),
      fields: { ruleId: text('a.rule_id'), state: text('a.state') },
    },
  },
};

function withinBounds({ topLeft, bottomRight }: GeoBoundsDto, { bind }: Statement): string {
  if (topLeft.lat < bottomRight.lat)
    throw invalidParameter('filters.geoBounds.topLeft.lat', 'a latitude that is not below that of bottomRight');
  const west = `s.lon >= CAST(${bind(topLeft.lon)} AS float8)`;
  const east = `s.lon <= CAST(${bind(bottomRight.lon)} AS float8)`;
  // A box whose left side is east of its right one crosses the 180th meridian.
  const between = topLeft.lon <= bottomRight.lon ? `${west} AND ${east}` : `(${west} OR ${east})`;
  return `s.lat BETWEEN CAST(${bind(bottomRight.lat)} AS float8) AND CAST(${bind(topLeft.lat)} AS float8) AND ${between}`;
}

/** SQL conditions on devices `d` and their states `s`. @throws ApiError 400 */
export function filterConditions(filters: FiltersDto | null | undefined, statement: Statement): string[] {
  const conditions: string[] = [];
  const { queryString, geoBounds } = filters ?? {};
  if (queryString)
    conditions.push(
      compileRsql({ text: queryString, parameter: 'filters.queryString' }, EXPLORER_FILTER, statement.bind),
    );
  if (geoBounds) conditions.push(withinBounds(geoBounds, statement));
  return conditions;
}
