import type { IConnectPacket, Packet } from 'mqtt-packet';
import { Reason, Refusal } from './return-codes.js';
import type { Ending } from './session.js';

/** Filters of one SUBSCRIBE or UNSUBSCRIBE. */
const MAX_FILTERS = 1000;
// Texts are UTF-8: what is not becomes U+FFFD when it is read.
const BAD_TOPIC = /[+#\0\uFFFD]/;
const BAD_FILTER = /[\0\uFFFD]/;

const malformed = (problem: string): Ending => ({
  description: `malformed packet: ${problem}`,
  reason: Reason.Malformed,
});
const hasId = ({ messageId }: Packet): boolean => messageId !== undefined && messageId > 0;

/** What is wrong with a packet of a client that is connected, beyond what the parser sees; it ends the connection. */
export function problemOf(packet: Packet): Ending | undefined {
  switch (packet.cmd) {
    case 'publish':
      if (packet.properties?.topicAlias !== undefined)
        return { description: 'topic aliases are not served', reason: Reason.TopicAliasInvalid };
      if (packet.topic === '' || BAD_TOPIC.test(packet.topic) || (packet.qos > 0 && !hasId(packet)))
        return malformed('a PUBLISH needs a topic in UTF-8 without wildcards, and a packet id with QoS 1 and 2');
      return undefined;
    case 'subscribe':
      if (packet.properties?.subscriptionIdentifier !== undefined)
        return {
          description: 'subscription identifiers are not served',
          reason: Reason.SubscriptionIdentifiersNotSupported,
        };
      return problemOfFilters(
        packet,
        packet.subscriptions.map(({ topic }) => topic),
      );
    case 'unsubscribe':
      return problemOfFilters(packet, packet.unsubscriptions);
    case 'puback':
    case 'pubrel':
      return hasId(packet) ? undefined : malformed(`${packet.cmd} without packet id`);
    default:
      return undefined;
  }
}

function problemOfFilters(packet: Packet, filters: readonly string[]): Ending | undefined {
  if (!hasId(packet) || filters.length === 0 || filters.some((filter) => filter === '' || BAD_FILTER.test(filter)))
    return malformed(`${packet.cmd} needs a packet id, and filters in UTF-8`);
  if (filters.length > MAX_FILTERS)
    return { description: `more than ${MAX_FILTERS} filters in a packet`, reason: Reason.QuotaExceeded };
  return undefined;
}

/** Why a CONNECT cannot be served, whoever sends it: what it is refused with. */
export function refusalOfConnect(
  packet: IConnectPacket & { bridgeMode?: boolean },
): [code: Refusal, description: string, reason?: Reason] | undefined {
  const { protocolId, protocolVersion, bridgeMode, properties = {} } = packet;
  if (bridgeMode || (protocolId === 'MQIsdp') !== (protocolVersion === 3))
    return [Refusal.ProtocolVersion, 'expected MQTT 3.1, 3.1.1 or 5'];
  const { receiveMaximum = 1, maximumPacketSize = 1, authenticationMethod } = properties;
  // One that is there twice is a list.
  if (!(receiveMaximum > 0 && maximumPacketSize > 0))
    return [
      Refusal.ProtocolVersion,
      'receive maximum and maximum packet size: expected once, from 1',
      Reason.ProtocolError,
    ];
  if (authenticationMethod !== undefined)
    return [Refusal.NotAuthorized, 'expected user name and password alone', Reason.BadAuthenticationMethod];
  return undefined;
}
