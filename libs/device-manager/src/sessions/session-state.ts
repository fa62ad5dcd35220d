import type { NodeSessionEvent } from '@orrery/core/messages';
import type { Capabilities, InterfaceStatus } from '../connectors/connector.js';
import { connectorOf } from '../connectors/connectors.js';
import type { NodeStatusEvent } from '../contract.js';

/** Numbers of the newest status that an external connector has told (manual 6.6.3). */
export interface StatusSequence {
  session?: number;
  /** Within the session. */
  event?: number;
}

/** What sessions change of an interface. */
export interface SessionState {
  connector: string;
  enabled: boolean;
  status: InterfaceStatus;
  activity: Record<string, unknown>;
  capabilities: Capabilities;
  connected: boolean;
  lastContact: Date | null;
  /** See `Interface`. */
  sessionId: string | null;
  sessionInstance: string | null;
  statusSequence: StatusSequence | null;
}

/** Applies what a connector reported (manual 5.5.3.3). Reports of a session that is no longer the current one change nothing. */
export function applySessionEvent(state: SessionState, event: NodeSessionEvent): SessionState {
  switch (event.type) {
    case 'nodeConnected':
      return online(
        {
          ...state,
          connected: true,
          sessionId: event.sessionId,
          capabilities: connectorOf(state.connector).capabilities(state.enabled),
        },
        event,
      );
    case 'nodeSubscribed':
      return state.sessionId === event.sessionId ? online(state, event) : state;
    case 'nodeContact': {
      const contact = new Date(event.timestamp);
      const heard = {
        ...state,
        lastContact: state.lastContact && state.lastContact > contact ? state.lastContact : contact,
      };
      // A session that was given up, because its instance had fallen silent, lives after all.
      if (state.sessionId === event.sessionId && state.sessionInstance === null) return online(heard, event);
      return { ...heard, activity: { ...heard.activity, ...event.activity } };
    }
    case 'nodeDisconnected':
      return state.sessionId === event.sessionId
        ? { ...offline(state), activity: { ...state.activity, ...event.activity }, sessionId: null }
        : state;
  }
}

function online(state: SessionState, event: NodeSessionEvent): SessionState {
  const activity = { ...state.activity, ...event.activity };
  // The connector let the node in before it heard that the interface is disabled, and will end the session.
  if (!state.enabled) return { ...state, activity };
  return {
    ...state,
    activity,
    status: 'ONLINE',
    sessionInstance: event.instance,
    capabilities: { ...state.capabilities, ...event.capabilities },
  };
}

/** The session is over, or considered so: the session id is kept until its connector says it. */
export function offline(state: SessionState): SessionState {
  return {
    ...state,
    status: state.status === 'ONLINE' ? 'OFFLINE' : state.status,
    sessionInstance: null,
    capabilities: connectorOf(state.connector).capabilities(state.enabled),
  };
}

/** Applies what an external connector told of its node, unless it is older than what is known, or nobody may hear it. */
export function applyNodeStatus(state: SessionState, event: NodeStatusEvent): SessionState {
  const statusSequence = state.enabled ? following(state.statusSequence, event) : undefined;
  if (statusSequence === undefined) return state;
  return {
    ...state,
    connected: true,
    status: event.status,
    lastContact: new Date(event.lastContact),
    capabilities: { ...state.capabilities, ...event.capabilities },
    statusSequence,
  };
}

/** The numbers after this status; undefined when it is outdated. A status without a session's number belongs to the latest. */
function following(
  known: StatusSequence | null,
  { sessionSequenceId: session, eventSequenceId: event }: NodeStatusEvent,
): StatusSequence | null | undefined {
  if (session === undefined && event === undefined) return known;
  const latest = known?.session ?? Number.NEGATIVE_INFINITY;
  if (session !== undefined && session < latest) return undefined;
  if (session !== undefined && session > latest) return { session, ...(event === undefined ? {} : { event }) };
  if (event !== undefined && event < (known?.event ?? Number.NEGATIVE_INFINITY)) return undefined;
  return { ...known, ...(event === undefined ? {} : { event }) };
}
