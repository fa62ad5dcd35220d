import { isMailAddress } from '@orrery/core/mail';
import type { FieldError } from '@orrery/core/messages';
import { compileTemplate, TemplateError } from '@orrery/core/templates';
import { checkWebhookHeaders, type Webhooks } from '@orrery/core/webhooks';
import type {
  AzureEventHubsAction,
  DeliveredActions,
  DeliveredKind,
  EmailAction,
  HttpPushAction,
  SmsAction,
} from './action.js';
import { eventHubsUrl, NAMESPACE_EXPECTED } from './event-hubs.js';
import { compileJsonPath, JSON_PATH_EXPECTED } from './json-path.js';
import { WEBHOOK_RULES } from './webhook-rules.js';

type Fields = Record<string, unknown>;

/** Addresses of one mail, of all kinds together. */
const MAX_ADDRESSES = 50;
/** What a text can be checked for without knowing the message: PostgreSQL keeps neither NUL nor half a surrogate pair. */
const UNKEPT = /\0|\p{Surrogate}/u;
const MSISDN = /^\+?[1-9]\d{5,14}$/;
const HUB_NAME = /^[A-Za-z\d](?:[\w.-]{0,254}[A-Za-z\d])?$/;

/** What parsing an action notes. */
export interface ActionErrors {
  /** Each bad field and what was expected. */
  invalid: FieldError[];
  /** Ports of webhooks that nobody may call: another code (HPU-016). */
  forbidden: FieldError[];
}

/** Checks one action of a policy. Members that are null count as absent, unknown ones are left out. */
export class ActionParser {
  private readonly parsers: { [Kind in DeliveredKind]: (input: Fields, field: string) => DeliveredActions[Kind] } = {
    httpPush: (input, field) => this.httpPush(input, field),
    azureEventHubs: (input, field) => this.azureEventHubs(input, field),
    emails: (input, field) => this.email(input, field),
    sms: (input, field) => this.sms(input, field),
  };

  /** @param knownKey the shared access key that is kept for an Event Hubs action which does not repeat it. */
  constructor(
    private readonly webhooks: Webhooks,
    private readonly errors: ActionErrors,
    private readonly knownKey: (action: AzureEventHubsAction) => string | undefined,
  ) {}

  parse<Kind extends DeliveredKind>(kind: Kind, input: unknown, field: string): DeliveredActions[Kind] | undefined {
    if (typeof input !== 'object' || input === null || Array.isArray(input)) {
      this.bad(field, 'an object');
      return undefined;
    }
    const given = Object.fromEntries(Object.entries(input as Fields).filter(([, value]) => value !== null));
    return this.parsers[kind](given, field) as DeliveredActions[Kind];
  }

  private httpPush(input: Fields, field: string): HttpPushAction {
    const { webhookUrl, headers } = input;
    const problem = this.webhooks.checkUrl(webhookUrl, WEBHOOK_RULES);
    if (problem) {
      const error = { field: `${field}.webhookUrl`, expected: problem.expected };
      (problem.port ? this.errors.forbidden : this.errors.invalid).push(error);
    }
    if (headers !== undefined) this.errors.invalid.push(...checkWebhookHeaders(`${field}.headers`, headers));
    return {
      webhookUrl: String(webhookUrl),
      ...(headers === undefined ? {} : { headers: headers as Record<string, string[]> }),
      ...this.retry(input, field, false),
      ...this.rendering(input, field),
    };
  }

  private azureEventHubs(input: Fields, field: string): AzureEventHubsAction {
    const text = (name: string, pattern: RegExp, expected: string): string => {
      const value = input[name];
      if (typeof value === 'string' && pattern.test(value) && !UNKEPT.test(value)) return value;
      this.bad(`${field}.${name}`, `${expected} (required)`);
      return '';
    };
    const eventHubsNamespace = text('eventHubsNamespace', /^.{1,260}$/, NAMESPACE_EXPECTED);
    if (eventHubsNamespace !== '' && eventHubsUrl(this.webhooks, eventHubsNamespace) === undefined)
      this.bad(`${field}.eventHubsNamespace`, NAMESPACE_EXPECTED);
    const action: AzureEventHubsAction = {
      eventHubsNamespace,
      eventHubName: text('eventHubName', HUB_NAME, 'the name of an Event Hub'),
      sharedAccessKeyName: text('sharedAccessKeyName', /^[\x21-\x7e]{1,256}$/, 'the name of a shared access policy'),
      sharedAccessKey: '',
      ...this.retry(input, field, true),
      ...this.rendering(input, field),
    };
    const known = input['sharedAccessKey'] === undefined ? this.knownKey(action) : undefined;
    action.sharedAccessKey = known ?? text('sharedAccessKey', /^.{1,512}$/s, 'the key of the shared access policy');
    return action;
  }

  private email(input: Fields, field: string): EmailAction {
    const lists: Partial<Pick<EmailAction, 'to' | 'cc' | 'cci'>> = {};
    let addresses = 0;
    for (const name of ['to', 'cc', 'cci'] as const) {
      const list = input[name];
      if (list === undefined) continue;
      if (!Array.isArray(list)) this.bad(`${field}.${name}`, 'a list of e-mail addresses');
      else {
        addresses += list.length;
        list.slice(0, MAX_ADDRESSES).forEach((address: unknown, i) => {
          if (!isMailAddress(address)) this.bad(`${field}.${name}[${i}]`, 'an e-mail address');
        });
        lists[name] = list as string[];
      }
    }
    if (input['to'] === undefined || lists.to?.length === 0)
      this.bad(`${field}.to`, 'a list of at least one e-mail address (required)');
    if (addresses > MAX_ADDRESSES) this.bad(field, `at most ${MAX_ADDRESSES} addresses in to, cc and cci`);
    return {
      to: [],
      ...lists,
      ...(input['subjectTemplate'] === undefined
        ? {}
        : { subjectTemplate: this.template(input['subjectTemplate'], `${field}.subjectTemplate`) }),
      contentTemplate: this.template(input['contentTemplate'], `${field}.contentTemplate`),
    };
  }

  private sms(input: Fields, field: string): SmsAction {
    const numbers = input['destinationPhoneNumbers'];
    if (!Array.isArray(numbers) || numbers.length === 0 || numbers.length > MAX_ADDRESSES)
      this.bad(`${field}.destinationPhoneNumbers`, `a list of 1 to ${MAX_ADDRESSES} phone numbers (required)`);
    else
      numbers.forEach((number: unknown, i) => {
        if (!(typeof number === 'string' && MSISDN.test(number)))
          this.bad(
            `${field}.destinationPhoneNumbers[${i}]`,
            'a phone number of 6 to 15 digits that begins with the country code, such as +33601234567',
          );
      });
    return {
      destinationPhoneNumbers: numbers as string[],
      contentTemplate: this.template(input['contentTemplate'], `${field}.contentTemplate`),
    };
  }

  private retry(input: Fields, field: string, required: true): { retryOnFailure: boolean };
  private retry(input: Fields, field: string, required: false): { retryOnFailure?: boolean };
  private retry(input: Fields, field: string, required: boolean): { retryOnFailure?: boolean } {
    const { retryOnFailure } = input;
    if (typeof retryOnFailure === 'boolean') return { retryOnFailure };
    if (retryOnFailure !== undefined || required)
      this.bad(`${field}.retryOnFailure`, `true or false${required ? ' (required)' : ''}`);
    return required ? { retryOnFailure: false } : {};
  }

  private rendering(input: Fields, field: string): { jsonPath?: string; content?: string } {
    const { jsonPath, content } = input;
    if (jsonPath !== undefined && jsonPath !== '' && !compileJsonPath(jsonPath))
      this.bad(`${field}.jsonPath`, JSON_PATH_EXPECTED);
    return {
      ...(jsonPath === undefined ? {} : { jsonPath: String(jsonPath) }),
      ...(content === undefined ? {} : { content: this.template(content, `${field}.content`) }),
    };
  }

  private template(text: unknown, field: string): string {
    const expected = 'a Mustache template';
    if (text === undefined) this.bad(field, `${expected} (required)`);
    else if (typeof text !== 'string' || UNKEPT.test(text)) this.bad(field, expected);
    else
      try {
        compileTemplate(text);
        return text;
      } catch (error) {
        if (!(error instanceof TemplateError)) throw error;
        this.bad(field, `${expected}: ${error.message}`);
      }
    return '';
  }

  private bad(field: string, expected: string): void {
    this.errors.invalid.push({ field, expected });
  }
}
