/** As Elasticsearch: more buckets in one answer are refused. */
export const MAX_BUCKETS = 65_536;
