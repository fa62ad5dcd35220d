import { arrayField, manyField, mapField, textField } from '../rsql/fields.js';
import type { Dialect } from '../rsql/rsql.js';

/** Fields of a `filterQuery` (manual 5.3.2.1 and 8.5.1.9), for devices `d` with their groups `g`. */
export const DEVICE_FILTER: Dialect = {
  fields: {
    tags: arrayField('d.tags', { inMeansAll: true }),
    groupId: textField('d.group_id'),
    groupPath: textField('g.path'),
    connector: manyField(
      (condition) =>
        `EXISTS (SELECT 1 FROM interfaces i WHERE i.tenant_id = d.tenant_id AND i.device_id = d.id AND ${condition})`,
      'i.connector',
    ),
  },
  keyed: { 'properties.': mapField('d.properties') },
};
