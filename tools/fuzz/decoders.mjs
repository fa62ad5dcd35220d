import { parseArgs } from 'node:util';
import { build, installDependencies } from '../install.mjs';
import { fuzzDecoders } from './decoders-fuzz.mjs';

const { values } = parseArgs({
  options: {
    formats: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    'no-build': { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(`npm run fuzz:decoders [-- --formats N] [--seed N] [--no-build]

Compiles random formats of binary decoders, and decodes four random payloads with each that is accepted. Fails when
something else than the two errors for formats and payloads comes out, or when a run takes more than 50 ms.`);
  process.exit(0);
}
const formats = Number(values.formats);
const seed = Number(values.seed);
if (!Number.isInteger(formats) || formats < 1 || !Number.isInteger(seed)) {
  console.error('--formats and --seed: expected whole numbers, formats from 1');
  process.exit(1);
}
if (!values['no-build']) {
  installDependencies();
  build();
}

const built = new URL('../../libs/decoder/dist/', import.meta.url);
const { compileBinaryFormat } = await import(new URL('binary/binary-format.js', built).href);
const { DecodingError, DefinitionError } = await import(new URL('decoding.js', built).href);
const began = Date.now();
try {
  const counts = fuzzDecoders(
    { compileBinaryFormat, DecodingError, DefinitionError },
    {
      seed,
      formats,
      onProgress: (count) => {
        if (count % 10_000 === 0) console.log(`${count} formats`);
      },
    },
  );
  console.log(
    `${counts.accepted} formats accepted, ${counts.refused} refused; ${counts.decoded} payloads decoded, ` +
      `${counts.undecodable} not; longest run ${counts.longestMs.toFixed(1)} ms; ` +
      `${Math.round((Date.now() - began) / 1000)} s. No problem found`,
  );
} catch (error) {
  console.error(String(error));
  process.exit(1);
}
