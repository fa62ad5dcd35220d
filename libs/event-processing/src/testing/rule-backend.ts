import { randomUUID } from 'node:crypto';
import { AUDIT_SUBJECT } from '@orrery/core/bus';
import type { Service } from '@orrery/core/service';
import { type ApiClient, apiClient, type Backend, keyRing, startBackend } from '@orrery/core/testing';
import type { MatchingFiredEvent, StateChangeEvent } from '../contract.js';
import type { FiringGuardDto } from '../guards/guard.dto.js';
import { RuleProbe, type Sent } from './events.js';

/** Hotter than 99. */
export const HOT = { '>': [{ var: 'value.temp' }, 99] };

export const ROOT = '/api/v0/eventprocessing';

export type Json = Record<string, unknown>;

/** Services, the bus beside them, and as many tenants as a test needs. */
export interface RuleBackend {
  backend: Backend;
  probe: RuleProbe;
  audited: Array<{ tenantId: string; type: string; content?: Json }>;
  newTenant(): RuleTenant;
  stop(): Promise<void>;
}

export async function startRuleBackend(services: Service[]): Promise<RuleBackend> {
  const backend = await startBackend(services);
  const bus = await backend.bus();
  const keys = keyRing(bus);
  const audited: RuleBackend['audited'] = [];
  bus.connection.subscribe(AUDIT_SUBJECT, { callback: (_, message) => void audited.push(message.json()) });
  const probe = new RuleProbe(bus, backend);
  const { url } = await backend.boot(services);
  return {
    backend,
    probe,
    audited,
    newTenant: () => {
      const id = randomUUID();
      return new RuleTenant(id, apiClient(url, keys.grant(id).value), probe);
    },
    async stop() {
      await probe.close();
      await backend.stop();
    },
  };
}

/** A tenant with its rules, which are enabled unless told otherwise. */
export class RuleTenant {
  constructor(
    readonly id: string,
    readonly api: ApiClient,
    private readonly probe: RuleProbe,
  ) {}

  /** @returns the id of the rule. */
  async create(path: string, body: object): Promise<string> {
    const { status, body: created } = await this.api.post<{ id: string }>(`${ROOT}/${path}`, {
      name: randomUUID(),
      enabled: true,
      ...body,
    });
    expect({ status, created }).toMatchObject({ status: 201 });
    return created.id;
  }

  match(dataPredicate: object = HOT, more: object = {}): Promise<string> {
    return this.create('matching-rule', { dataPredicate, ...more });
  }

  fires(matchingRuleIds: string[], more: object = {}): Promise<string> {
    return this.create('firing-rule', { matchingRuleIds, firingType: 'ALWAYS', ...more });
  }

  state(stateFunction: object, more: object = {}): Promise<string> {
    return this.create('stateprocessing-rule', { stateKeyPath: 'streamId', stateFunction, ...more });
  }

  async change(path: string, body: object): Promise<void> {
    expect((await this.api.put(`${ROOT}/${path}`, body)).status).toBe(204);
  }

  async provide(key: string, contextData: unknown): Promise<void> {
    expect((await this.api.put(`${ROOT}/context/${key}`, { contextData })).status).toBe(200);
  }

  async guards(): Promise<FiringGuardDto[]> {
    return (await this.api.get<FiringGuardDto[]>(`${ROOT}/firing-guard`)).body;
  }

  /** @param source device; none when it is undefined. */
  send(source: string | undefined, sent: Sent = {}): Promise<{ id: string }> {
    return this.probe.send(this.id, source, sent);
  }

  /** Sends a message with this temperature. */
  temp(temp: number, source = 'urn:lo:nsid:mqtt:a', more: Sent = {}): Promise<{ id: string }> {
    return this.send(source, { value: { temp }, ...more });
  }

  /** The events of everything that has been sent. */
  async fired(): Promise<MatchingFiredEvent[]> {
    await this.probe.settled();
    return this.probe.fired(this.id);
  }

  /** The changes of state of everything that has been sent. */
  async changes(): Promise<StateChangeEvent[]> {
    await this.probe.settled();
    return this.probe.changes(this.id);
  }

  async stored(streamId: string): Promise<Json[]> {
    return (await this.api.get<Json[]>(`/api/v0/data/streams/${streamId}`)).body;
  }
}

/** The messages that events tell of. */
export const dataOf = (events: MatchingFiredEvent[]): Json[] =>
  events.map(({ matchingContext }) => matchingContext.data);
export const tempsOf = (events: MatchingFiredEvent[]): unknown[] =>
  dataOf(events).map(({ value }) => (value as Json)['temp']);
export const streamsOf = (events: MatchingFiredEvent[]): unknown[] =>
  dataOf(events)
    .map(({ streamId }) => streamId)
    .toSorted();
