/**
 * Rules for the messages of the benchmarks (`value.n`, `value.t`, `value.h`, tag `bench`): each needs three comparisons, the
 * first one fires for each hundredth message, the others never.
 * @param {(path: string, body: object) => Promise<{ id: string }>} post to the REST API, of JSON
 * @param {number} from of the first that is made
 * @param {number} to
 */
export async function makeRules(post, from, to) {
  for (let n = from; n < to; n++) {
    const { id } = await post('/api/v0/eventprocessing/matching-rule', {
      name: `rule ${n}`,
      enabled: true,
      dataPredicate: {
        and: [
          { '>': [{ var: 'value.t' }, n === 0 ? 0 : 100 + n] },
          { in: ['bench', { var: 'tags' }] },
          n === 0 ? { '==': [{ '%': [{ var: 'value.n' }, 100] }, 0] } : { '<': [{ var: 'value.h' }, n] },
        ],
      },
    });
    await post('/api/v0/eventprocessing/firing-rule', {
      name: `rule ${n}`,
      enabled: true,
      matchingRuleIds: [id],
      firingType: 'ALWAYS',
    });
  }
}
