import { randomUUID } from 'node:crypto';
import { LIMITS } from '@orrery/core/limits';
import {
  type DataMessage,
  describeErrors,
  MAX_VALUE_BYTES,
  parsePublished,
  type PublishedMessage,
} from '@orrery/core/messages';
import { WebhookError, type WebhookHeaders, type WebhookRules, type Webhooks } from '@orrery/core/webhooks';
import { type Step, STEP_URL } from '../pipelines/pipeline-document.js';
import type { CompiledPipeline } from './pipeline-cache.js';

/** How steps call their servers (manual 23.3). */
export const STEP_RULES: WebhookRules = {
  ...STEP_URL,
  connectMs: LIMITS.pipelineConnectMs.value,
  idleMs: LIMITS.pipelineSocketMs.value,
  // A value, and room for the rest.
  maxAnswerBytes: 2 * MAX_VALUE_BYTES,
};

/** Bytes of a transformed message: the bus takes a little more. */
export const MAX_MESSAGE_BYTES = 3 << 20;

/** Characters of a useless answer that its owner gets to see. */
const SHOWN_LENGTH = 1000;
/** The same, and the longest header that may begin in them. */
const LOOKED_AT = SHOWN_LENGTH + 8192;

/** Why a step has failed. The text is for the owner of the pipeline. */
export class StepFailure extends Error {
  constructor(
    message: string,
    readonly details: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

/**
 * Runs the steps of a pipeline, each on the result of the one before.
 * @param traceparent W3C trace context that servers are told.
 * @returns the transformed message (manual 11.4.3.1), but for what it says about the pipeline itself.
 * @throws StepFailure, and WebhookError `aborted`
 */
export async function runSteps(
  webhooks: Webhooks,
  rules: WebhookRules,
  pipeline: CompiledPipeline,
  original: DataMessage,
  signal: AbortSignal,
  traceparent?: string,
): Promise<DataMessage> {
  const ownHeaders = {
    'x-orange-lo-pipeline-execution-id': randomUUID(),
    ...(traceparent === undefined ? {} : { traceparent }),
  };
  let message = original;
  for (const step of pipeline.steps()) {
    const { id: _, ...routed } = message;
    const body = JSON.stringify({ type: 'dataMessage', version: 1, ...routed });
    message = override(message, await answerOf(webhooks, rules, step, ownHeaders, body, signal));
  }
  return message;
}

async function answerOf(
  webhooks: Webhooks,
  rules: WebhookRules,
  { url, headers = {}, name }: Step,
  ownHeaders: Readonly<Record<string, string>>,
  body: string,
  signal: AbortSignal,
): Promise<PublishedMessage> {
  // The query of a URL may hold a credential.
  const step = { ...(name === undefined ? {} : { step: name }), url: url.replace(/[?#].*$/s, '') };
  const answer = await webhooks
    .post(url, {
      ...rules,
      headers,
      ownHeaders: {
        'content-type': 'application/json',
        ...ownHeaders,
        ...(name === undefined ? {} : { 'x-orange-lo-pipeline-step-name': name }),
      },
      body,
      signal,
    })
    .catch((error: unknown) => {
      if (error instanceof WebhookError && error.reason !== 'aborted') throw new StepFailure(error.message, step);
      throw error;
    });
  const details = {
    ...step,
    responseStatusCode: answer.status,
    responseBody: withoutCredentials(answer.body.slice(0, LOOKED_AT), headers).slice(0, SHOWN_LENGTH),
  };
  if (answer.status < 200 || answer.status > 299)
    throw new StepFailure(`the server answered ${answer.status}`, details);
  if (answer.truncated) throw new StepFailure(`the answer is longer than ${rules.maxAnswerBytes} bytes`, details);
  let fields: unknown;
  try {
    fields = JSON.parse(answer.body);
  } catch {
    throw new StepFailure('the answer is not JSON', details);
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
    throw new StepFailure('the answer is not a JSON object', details);
  // Others are ignored, whatever they hold.
  const { timestamp, model, value, location, tags } = fields as Record<string, unknown>;
  // A number may be longer when it is written again: 1e20 is not kept so.
  const parsed = parsePublished({ timestamp, model, value, location, tags }, answer.body.length * 5);
  const errors = Array.isArray(parsed) ? parsed : parsed.locationError ? [parsed.locationError] : [];
  if (Array.isArray(parsed) || errors.length > 0)
    throw new StepFailure(`the answer is not a data message: ${describeErrors(errors)}`, details);
  return parsed;
}

/** Servers that fail may tell what they were sent. Short values are no credentials. */
function withoutCredentials(text: string, headers: WebhookHeaders): string {
  const values = Object.values(headers)
    .flat()
    .filter((value) => value.length >= 8);
  return values.reduce((shown, value) => shown.replaceAll(value, '***'), text);
}

/** The table of 11.4.3.1: what the answer may replace, also by nothing. */
function override(message: DataMessage, answer: PublishedMessage): DataMessage {
  const { model: _model, location: _location, value: before, ...kept } = message;
  const { payload: _payload, ...fields } = answer.value ?? {};
  const payload = before && 'payload' in before ? { payload: before['payload'] } : {};
  const value = { ...payload, ...fields };
  const merged = Object.keys(payload).length > 0 && answer.value !== undefined;
  if (merged && Buffer.byteLength(JSON.stringify(value)) > MAX_VALUE_BYTES)
    throw new StepFailure(`the value, with the payload that is kept, has more than ${MAX_VALUE_BYTES} bytes of JSON`);
  return {
    ...kept,
    timestamp: answer.timestamp ?? message.timestamp,
    tags: answer.tags,
    ...(answer.model === undefined ? {} : { model: answer.model }),
    ...(answer.location === undefined ? {} : { location: answer.location }),
    ...(answer.value === undefined && !('payload' in payload) ? {} : { value }),
  };
}
