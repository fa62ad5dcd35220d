import { arrayField, manyField, mapField, textField } from '../rsql/fields.js';
import type { Dialect, Field } from '../rsql/rsql.js';

/** Fields of a `filterQuery` (manual 5.3.2.1 and 8.5.1.9), for devices `d` of the tenant `$1`. */
export const DEVICE_FILTER: Dialect = {
  fields: {
    tags: arrayField('d.tags', { inMeansAll: true }),
    groupId: textField('d.group_id'),
    groupPath: groupField(),
    connector: manyField(
      (condition) =>
        `EXISTS (SELECT 1 FROM interfaces i WHERE i.tenant_id = d.tenant_id AND i.device_id = d.id AND ${condition})`,
      'i.connector',
    ),
  },
  keyed: { 'properties.': mapField('d.properties') },
};

// An array that is found once: groups are few, and their devices are found by an index.
function groupField(): Field {
  const path = textField('p.path');
  return {
    ...path,
    sql: (test, bind) =>
      `d.group_id = ANY(ARRAY(SELECT p.id FROM groups p WHERE p.tenant_id = $1 AND ${path.sql(test, bind)}))`,
  };
}
