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

export type Definition = Record<string, unknown>;

/** What the inventory has to know of a connector: one entry of the table in `connectors.ts`. */
export interface Connector {
  /** As clients name it: `mqtt`, `lora`. */
  readonly id: string;
  /** Checks a definition, leaves out what it does not know, and finds the node id in it. Paths start at the definition. */
  define(definition: Definition): { nodeId: string; definition: Definition } | FieldError[];
  /** False when no interface of this connector can have the node id. */
  isNodeId(nodeId: string): boolean;
  /** Device and definition of a node that registers itself at its first contact; absent when nodes cannot. */
  autoRegister?(nodeId: string): { deviceId: string; definition: Definition };
  /** Status without an open session. @param connected whether the interface has ever had a session */
  restingStatus(enabled: boolean, connected: boolean): InterfaceStatus;
  /** Capabilities without an open session. */
  readonly capabilities: Capabilities;
}
