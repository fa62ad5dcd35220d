import type { Subscription } from '@nats-io/transport-node';
import { type Bus, callRpc, defineRpc, type Rpc, RpcError, RpcUnavailableError, serveRpc } from '../bus/index.js';
import type { Running } from '../service/index.js';

// What happened to a message is known to the services that it came by: each answers for itself, from what it keeps.

export interface JourneyQuestion {
  tenantId: string;
  messageId: string;
  /** Ids of the events that came of it and are stored, as `messageId` is for the message itself. */
  eventIds: string[];
  /** What the message says of its encoding; absent when it says nothing. */
  encoding?: string;
}

/**
 * `waiting` and `retrying`: not over yet; `none`: there was nothing to do; `absent`: it is not there, and why is not known;
 * `notKept`: nobody remembers; `unknown`: whoever knows does not answer.
 */
export const JOURNEY_OUTCOMES = [
  'done',
  'failed',
  'waiting',
  'retrying',
  'none',
  'absent',
  'notKept',
  'unknown',
] as const;

export interface JourneyStep {
  /** What was to be done, such as decoding, indexing or httpPush. */
  step: string;
  outcome: (typeof JOURNEY_OUTCOMES)[number];
  /** ISO 8601; absent when it is not kept. */
  time?: string;
  /** Why, in the words of whoever did it. */
  reason?: string;
  /** What more there is to say. */
  [detail: string]: unknown;
}

const journeyOf = (service: string): Rpc<JourneyQuestion, { steps: JourneyStep[] }> => defineRpc(service, 'journeyOf');

/** @returns undefined when the service does not answer, or not in time. */
export async function askJourney(
  bus: Bus,
  service: string,
  question: JourneyQuestion,
  timeoutMs: number,
): Promise<JourneyStep[] | undefined> {
  try {
    return (await callRpc(bus, journeyOf(service), question, { timeoutMs })).steps;
  } catch (error) {
    if (error instanceof RpcUnavailableError || error instanceof RpcError) return undefined;
    throw error;
  }
}

/** Answers for a service. */
export class JourneyAnswers implements Running {
  private subscription?: Subscription;

  constructor(
    private readonly bus: Bus,
    private readonly service: string,
    private readonly steps: (question: JourneyQuestion) => Promise<JourneyStep[]>,
  ) {}

  async start(): Promise<void> {
    this.subscription = serveRpc(this.bus, journeyOf(this.service), async (question) => ({
      steps: await this.steps(question),
    }));
  }

  async stop(): Promise<void> {
    await this.subscription?.drain();
  }
}
