import type { NodeSessionEvent } from '@orrery/core/messages';
import type { Capabilities, InterfaceStatus } from '../connectors/connector.js';
import { connectorOf } from '../connectors/connectors.js';

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
