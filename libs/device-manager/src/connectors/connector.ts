import type { LimitName } from '@orrery/core/limits';
import type { FieldError } from '@orrery/core/messages';

/** Status of an interface (manual 5.2.1.4). Each connector uses some of them. */
export type InterfaceStatus =
  | 'REGISTERED'
  | 'INITIALIZING'
  | 'INITIALIZED'
  | 'ACTIVATED'
  | 'DEACTIVATED'
  | 'REACTIVATED'
  | 'CONNECTIVITY_ERROR'
  | 'ONLINE'
  | 'OFFLINE'
  | 'SLEEPING';

export const INTERFACE_STATUSES: readonly InterfaceStatus[] = [
  'REGISTERED',
  'INITIALIZING',
  'INITIALIZED',
  'ACTIVATED',
  'DEACTIVATED',
  'REACTIVATED',
  'CONNECTIVITY_ERROR',
  'ONLINE',
  'OFFLINE',
  'SLEEPING',
];

/** Features that an interface supports now (manual 5.2.1.5). */
export type Capabilities = Record<
  'command' | 'configuration' | 'resource' | 'twin',
  { available: boolean; version?: number }
>;

const unavailable = { available: false };
/** What no connector offers by itself. */
export const NO_CAPABILITIES: Capabilities = {
  command: unavailable,
  configuration: unavailable,
  resource: unavailable,
  twin: unavailable,
};

/** Commands can be sent to an interface whenever it is enabled (manual 5.2.1.5). */
export const commandsWhenEnabled = (enabled: boolean): Capabilities =>
  enabled ? { ...NO_CAPABILITIES, command: { available: true, version: 1 } } : NO_CAPABILITIES;

export type Definition = Record<string, unknown>;

/** Who defines an interface, as far as definitions depend on it. */
export interface DefinitionContext {
  /** Server phone numbers of the tenant's offer. */
  smsNumbers: readonly string[];
  /** The interface exists and has a secret: a definition that does not repeat it is complete. */
  hasSecret: boolean;
}

export interface DefinedNode {
  nodeId: string;
  /** What answers show. */
  definition: Definition;
  /** What no answer ever shows: stored encrypted. Absent: the one that is stored stays; null: there is none. */
  secret?: string | null;
}

/** What the inventory has to know of a connector: one entry of the table in `connectors.ts`. */
export interface Connector {
  /** As clients name it: `mqtt`, `lora`. */
  readonly id: string;
  /** Section of the offer settings that switches it off (manual 21.2). */
  readonly section: string;
  /** Limits the interfaces of a tenant. */
  readonly limit?: LimitName;
  /** Checks a definition and leaves out what it does not know. Paths of errors start at the definition. */
  define(definition: Definition, context: DefinitionContext): DefinedNode | FieldError[];
  /** The node id that is meant, spelt as it is stored; undefined when no interface of this connector can have it. */
  parseNodeId(text: string): string | undefined;
  /** Device and definition of a node that registers itself at its first contact; absent when nodes cannot. */
  autoRegister?(nodeId: string): { deviceId: string; definition: Definition };
  /** Status of a new interface. */
  initialStatus(enabled: boolean): InterfaceStatus;
  /**
   * Status after a user enabled or disabled it, or gave it another node, which ends its session.
   * @param before whether it was enabled, and was ever heard of
   */
  changedStatus(enabled: boolean, before: { enabled: boolean; connected: boolean }): InterfaceStatus;
  /** What is noted in the activity when it is disabled, or enabled again. @param at ISO 8601 */
  switchedActivity?(enabled: boolean, at: string): Record<string, unknown>;
  /** Capabilities without an open session. */
  capabilities(enabled: boolean): Capabilities;
}
