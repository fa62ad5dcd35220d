import type { IConnectPacket } from 'mqtt-packet';
import { RawClient } from './raw-client.js';
import type { Surroundings } from './surroundings.js';

export const STATUS = (nodeId: string): string => `connector/v1/nodes/${nodeId}/status`;
export const DATA = (nodeId: string): string => `connector/v1/nodes/${nodeId}/data`;
/** A data message that can be found again. */
export const marked = (mark: string): { value: { mark: string } } => ({ value: { mark } });

/** External connectors, and what comes of what they publish. */
export class ExternalConnectors {
  private readonly clients: RawClient[] = [];
  private packetId = 0;

  constructor(private readonly around: Surroundings) {}

  async open(port = this.around.ports.tls): Promise<RawClient> {
    const client = await RawClient.open(port, { rejectUnauthorized: false });
    this.clients.push(client);
    return client;
  }

  /** A connector of a tenant of its own, as the audit log takes a hundred entries of a tenant a minute. */
  async connect(
    clientId: string,
    tenant = clientId,
    more: Partial<IConnectPacket> = {},
    port?: number,
  ): Promise<RawClient> {
    const client = await this.open(port);
    const { value } = this.around.keys.grant(tenant, { roles: ['CONNECTOR_ACCESS'] });
    expect(await client.connect('connector', value, clientId, more)).toBe(0);
    return client;
  }

  /** Publishes with QoS 1 and waits for the acknowledgement. */
  async publish(client: RawClient, topic: string, content: unknown): Promise<void> {
    this.packetId = (this.packetId % 65_535) + 1;
    client.publish(topic, typeof content === 'string' ? content : JSON.stringify(content), this.packetId);
    expect((await client.next('puback')).messageId).toBe(this.packetId);
  }

  /** Events of this type of this node, in their order. */
  events(type: string, nodeId: string): Array<Record<string, unknown>> {
    return this.around.events
      .map(({ event }) => event as unknown as Record<string, unknown>)
      .filter((event) => event['type'] === type && event['nodeId'] === nodeId);
  }

  /** Types of the audit entries about this client. */
  audits(clientId: string): string[] {
    return this.around.audits.filter(({ content }) => content?.['clientId'] === clientId).map(({ type }) => type);
  }

  end(): void {
    for (const client of this.clients) client.end();
  }
}
