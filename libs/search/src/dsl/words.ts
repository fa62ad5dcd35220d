/**
 * Characters of words: letters, digits and underscore. Coarse on purpose, as ranges that PostgreSQL, Java and JavaScript
 * read alike, so that both engines cut the same words (Elasticsearch: a tokenizer of this pattern, then lowercase).
 */
export const WORD_CHARACTERS =
  '0-9A-Za-z_\u00AA\u00B5\u00BA\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u1FFF\u2C00-\u2DFF\u3040-\uD7FF\uF900-\uFDFF\uFE70-\uFEFE\uFF10-\uFFDC';

const WORD = new RegExp(`[${WORD_CHARACTERS}]+`, 'g');

/** Words of a text, in lower case, in their order. */
export const words = (text: string): string[] => (text.match(WORD) ?? []).map((word) => [...word].map(lower).join(''));

/** As Lucene, character by character: a sigma at the end is like any other, and the I with a dot is one character. */
const lower = (character: string): string => (character === 'İ' ? 'i' : character.toLowerCase());

let variants: Map<string, string> | undefined;

/** All characters, in one text, that are this one in lower case. */
export function variantsOf(character: string): string {
  if (!variants) {
    variants = new Map();
    for (let code = 0; code < 0x1_0000; code++) {
      const each = String.fromCharCode(code);
      const small = lower(each);
      if (small !== each) variants.set(small, `${variants.get(small) ?? small}${each}`);
    }
  }
  return variants.get(character) ?? character;
}
