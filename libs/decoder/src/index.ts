import { JourneyAnswers } from '@orrery/core/journey';
import type { Service } from '@orrery/core/service';
import { SERVICE } from './contract.js';
import { Decoder } from './decoders/decoder.entity.js';
import { DECODER_CONTROLLERS } from './decoders/decoders.controller.js';
import { DecodersService } from './decoders/decoders.service.js';
import { DecodingEngine } from './decoders/decoding-engine.js';
import { journeySteps } from './decoders/journey.js';
import { JavaScriptRunner } from './javascript/javascript-runner.js';
import { Decoders1700001000000 } from './migrations.js';
import { DecodingStage } from './stage/decoding-stage.js';

/** Decoders, and the decoding of what devices send in formats of their own (manual 11.3). */
export const decoder: Service = {
  name: 'decoder',
  schema: { name: 'decoder', entities: [Decoder], migrations: [Decoders1700001000000] },
  restPaths: ['/api/v0/decoders'],
  build({ bus, database, audit, roles }) {
    const scripts = new JavaScriptRunner();
    // Apart, so that scripts under test do not keep messages waiting.
    const tests = new JavaScriptRunner();
    return {
      controllers: DECODER_CONTROLLERS,
      providers: [{ token: DecodersService, value: new DecodersService(database, tests, new DecodingEngine(tests)) }],
      running: [
        { start: async () => undefined, stop: async () => void (await Promise.all([scripts.close(), tests.close()])) },
        new JourneyAnswers(bus, SERVICE, (question) => journeySteps(database, question)),
        ...(roles.worker ? [new DecodingStage(bus, database, audit, new DecodingEngine(scripts))] : []),
      ],
    };
  },
};
