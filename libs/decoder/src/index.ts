import type { Service } from '@orrery/core/service';
import { Decoder } from './decoders/decoder.entity.js';
import { DECODER_CONTROLLERS } from './decoders/decoders.controller.js';
import { DecodersService } from './decoders/decoders.service.js';
import { DecodingEngine } from './decoders/decoding-engine.js';
import { DefinitionError } from './decoding.js';
import { Decoders1700001000000 } from './migrations.js';
import { DecodingStage } from './stage/decoding-stage.js';

/** Decoders, and the decoding of what devices send in formats of their own (manual 11.3). */
export const decoder: Service = {
  name: 'decoder',
  schema: { name: 'decoder', entities: [Decoder], migrations: [Decoders1700001000000] },
  restPaths: ['/api/v0/decoders'],
  build({ bus, database, audit, roles }) {
    const unavailable = (): Promise<never> => Promise.reject(new DefinitionError('scripts are not available'));
    const scripts = { check: unavailable, run: unavailable };
    const engine = new DecodingEngine(scripts);
    return {
      // Those of scripts follow.
      controllers: DECODER_CONTROLLERS.slice(0, 3),
      providers: [{ token: DecodersService, value: new DecodersService(database, scripts, engine) }],
      running: roles.worker ? [new DecodingStage(bus, database, audit, engine)] : [],
    };
  },
};
