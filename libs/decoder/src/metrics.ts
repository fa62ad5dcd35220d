import { counter, histogram } from '@orrery/core/telemetry';

export const decoderMetrics = {
  seconds: histogram('orrery_decoder_seconds', 'Time of decoding up to 50 messages together'),
  messages: counter(
    'orrery_decoder_messages_total',
    'Messages that came to the decoder. Outcome: decoded, failed, passed (no decoder of that name any more)',
    ['outcome'],
  ),
};
