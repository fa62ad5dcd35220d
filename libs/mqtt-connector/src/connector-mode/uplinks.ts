import type { PublishedMessage } from '@orrery/core/messages';
import type { NodeEvent, NodeReportEvent, NodeStatusEvent } from '@orrery/device-manager/contract';
import { type BadData, readJson } from '../data/published-data.js';
import {
  commandResponse,
  configurationResponse,
  currentConfiguration,
  currentResource,
  isNodeId,
  NODE_ID_EXPECTED,
  nodeStatus,
  readReport,
  resourceResponse,
} from './reports.js';
import {
  COMMAND_RESPONSES,
  CONFIGURATION_RESPONSES,
  CURRENT_CONFIGURATION,
  CURRENT_RESOURCE,
  NODE_TOPIC,
  RESOURCE_RESPONSES,
} from './topics.js';

/** An event, but for the node that it is of. */
type Said<Event> = Event extends unknown ? Omit<Event, 'connector' | 'nodeId' | 'deviceId'> : never;
type Untimed<Event> = Event extends unknown ? Omit<Event, keyof NodeEvent> : never;

/** What a publication says of a node. */
export type Uplink = {
  nodeId: string;
  /** An unknown node is registered: somebody tells of it, and does not only answer for it (manual 5.5.5.3). */
  registers: boolean;
} & ({ data: PublishedMessage } | { event: Said<NodeStatusEvent | NodeReportEvent> });

/** A publication that says nothing: why, for the audit log. */
export interface BadUplink {
  type: 'bad_topic' | 'bad_node_id' | 'bad_message';
  problem: string;
  /** When the topic names a node. */
  nodeId?: string;
}

/** What is published on a topic that is no node's own. */
interface Report {
  /** For people. */
  name: string;
  registers: boolean;
  read(payload: Buffer): (Untimed<NodeReportEvent> & { nodeId: string }) | BadData;
}

const REPORTS: ReadonlyMap<string, Report> = new Map<string, Report>([
  [
    COMMAND_RESPONSES,
    { name: 'Command response', registers: false, read: (payload) => readReport(commandResponse, payload) },
  ],
  [
    CONFIGURATION_RESPONSES,
    { name: 'Configuration response', registers: false, read: (payload) => readReport(configurationResponse, payload) },
  ],
  [
    CURRENT_CONFIGURATION,
    { name: 'Current configuration', registers: true, read: (payload) => readReport(currentConfiguration, payload) },
  ],
  [
    RESOURCE_RESPONSES,
    { name: 'Resource response', registers: false, read: (payload) => readReport(resourceResponse, payload) },
  ],
  [
    CURRENT_RESOURCE,
    { name: 'Current resources', registers: true, read: (payload) => readReport(currentResource, payload) },
  ],
]);

const bad = (name: string, { problem }: BadData, nodeId?: string): BadUplink => ({
  type: 'bad_message',
  problem: `${name} refused: ${problem}`,
  ...(nodeId === undefined ? {} : { nodeId }),
});

/** Reads a publication of an external connector (manual 6.6.2). */
export function readUplink(topic: string, payload: Buffer): Uplink | BadUplink {
  const [, nodeId, kind] = NODE_TOPIC.exec(topic) ?? [];
  if (nodeId === undefined) return readFromReport(topic, payload);
  if (!isNodeId(nodeId)) return { type: 'bad_node_id', problem: `Topic: expected ${NODE_ID_EXPECTED}` };
  if (kind === 'data') {
    const data = readJson(payload, false);
    return 'problem' in data ? bad('Data message', data, nodeId) : { nodeId, registers: true, data };
  }
  const status = readReport(nodeStatus, payload);
  if ('problem' in status) return bad('Node status', status, nodeId);
  const timestamp = new Date().toISOString();
  return { nodeId, registers: true, event: { lastContact: timestamp, ...status, timestamp } };
}

function readFromReport(topic: string, payload: Buffer): Uplink | BadUplink {
  const report = REPORTS.get(topic);
  if (!report) return { type: 'bad_topic', problem: 'no topic that a connector publishes on' };
  const content = report.read(payload);
  if ('problem' in content) return bad(report.name, content);
  const { nodeId, ...said } = content;
  return { nodeId, registers: report.registers, event: { ...said, timestamp: new Date().toISOString() } };
}
