import type { Database } from '@orrery/core/database';
import type { JourneyQuestion, JourneyStep } from '@orrery/core/journey';
import { Decoder } from './decoder.entity.js';
import { PUBLIC } from './decoders.service.js';

/** The decoder that the message names; whether it was there when the message came is not kept. */
export async function journeySteps(
  database: Database,
  { tenantId, encoding }: JourneyQuestion,
): Promise<JourneyStep[]> {
  if (encoding === undefined) return [{ step: 'decoding', outcome: 'none' }];
  const { manager } = database;
  const decoder =
    (await manager.findOneBy(Decoder, { tenantId, encoding })) ??
    (await manager.findOneBy(Decoder, { tenantId: PUBLIC, encoding }));
  return [
    {
      step: 'decoding',
      outcome: 'notKept',
      encoding,
      ...(decoder
        ? { decoder: { id: decoder.id, kind: decoder.kind, enabled: decoder.enabled, updated: decoder.updated } }
        : { reason: 'no decoder has this encoding now' }),
    },
  ];
}
