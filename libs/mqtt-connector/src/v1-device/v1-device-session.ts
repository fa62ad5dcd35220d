import { setTimeout as delay } from 'node:timers/promises';
import type { IPublishPacket, ISubscribePacket, IUnsubscribePacket } from 'mqtt-packet';
import { type Bus, callRpc, RpcError } from '@orrery/core/bus';
import { describeErrors, type FieldError, type MessageOrigin } from '@orrery/core/messages';
import {
  changeByDevice,
  type ChangeOfDevice,
  deviceLicenses,
  type ResolvedNode,
  reportLicense,
} from '@orrery/device-manager/contract';
import { DeviceSession, NodeDisabledError } from '../device-mode/device-session.js';
import type { Publication } from '../server/publication-queue.js';
import { Reason } from '../server/return-codes.js';
import { type DeviceAccesses, hashAccessKey } from './device-accesses.js';
import { Documents } from './documents.js';
import {
  parseObject,
  readCommandAnswer,
  readLicenseReport,
  readSetting,
  readTelemetry,
  readUpdate,
} from './payloads.js';
import { localTime, spaceInfo } from './space-info.js';
import { deviceTopic, ownTopic, PUBLISHED, type Published, SUBSCRIBED, type Subscribed } from './topics.js';

const RETRY_MS = 500;

/** What the session knows beside what all sessions of devices know. */
export interface V1Tools {
  bus: Bus;
  accesses: DeviceAccesses;
  /** What the device has logged in with. */
  accessKey: string;
}

/** A session of the MQTT 5 device API. It tells in its answers what was wrong, and goes on. */
export class V1DeviceSession extends DeviceSession {
  override readonly watchesGroup = true;
  protected override readonly overLimit = Reason.QuotaExceeded;
  private readonly documents: Documents;
  private readonly subscriptions = new Map<Subscribed, 0 | 1>();
  /** Origins of telemetry, which tell what it does with the current state of the device. */
  private origins?: Record<'merged' | 'replaced', MessageOrigin>;
  /** Changes are made one after the other. */
  private changing = Promise.resolve();
  /** The space information that was sent last, without the time. */
  private sentSpace?: string;
  /** Revisions of licenses that were sent. */
  private readonly sentLicenses = new Map<string, number>();
  private wantedLicenses?: 'all' | 'changed';
  private readingLicenses = false;

  constructor(
    private readonly v1: V1Tools,
    ...parts: ConstructorParameters<typeof DeviceSession>
  ) {
    super(...parts);
    const [, , packet] = parts;
    this.documents = new Documents(this.connection, packet.properties ?? {}, ({ topic }, bytes) =>
      this.audit.error(
        'message_too_large',
        `A document for ${topic} was left out: it makes a packet of ${bytes} bytes, more than the client takes`,
        { topic },
      ),
    );
  }

  override invalidate(): void {
    this.v1.accesses.forget(this.clientId);
    super.invalidate();
  }

  override subscribe({ messageId, subscriptions }: ISubscribePacket): void {
    const reached = this.traffic.subscribe();
    const added = new Map<Subscribed, 0 | 1>();
    const granted = subscriptions.map(({ topic, qos }) => {
      if (reached) return Reason.QuotaExceeded;
      const name = ownTopic(this.clientId, topic, SUBSCRIBED);
      if (name === undefined) {
        this.auditTopic(topic, 'subscribe to');
        return Reason.NotAuthorized;
      }
      const most = qos === 0 ? 0 : 1;
      added.set(name, most);
      return most;
    });
    this.connection.sendPacket({ cmd: 'suback', messageId: messageId!, granted });
    for (const [name, qos] of added) this.subscriptions.set(name, qos);
    if (added.has('space_info')) this.sendSpaceInfo();
    if (added.has('license')) this.sendLicenses('all');
  }

  override unsubscribe({ messageId, unsubscriptions }: IUnsubscribePacket): void {
    const granted = unsubscriptions.map((topic) => {
      const name = ownTopic(this.clientId, topic, SUBSCRIBED);
      if (name === undefined || !this.subscriptions.delete(name)) return 0x11;
      this.documents.forget(topic);
      return 0;
    });
    this.connection.sendPacket({ cmd: 'unsuback', messageId: messageId!, granted });
  }

  override acknowledged(packetId: number): void {
    this.documents.acknowledged(packetId);
  }

  protected override async find(): Promise<ResolvedNode> {
    const access = await this.v1.accesses.find(this.clientId);
    if (access?.tenantId !== this.tenantId || access.keyHash !== hashAccessKey(this.v1.accessKey))
      throw new NodeDisabledError('the access key has ended: the device has registered again, or was deleted');
    return this.tools.directory.find(this.tenantId, this.clientId);
  }

  protected override loaded(): void {
    const origin = this.origin!;
    this.origins = { merged: { ...origin, state: 'merged' }, replaced: { ...origin, state: 'replaced' } };
    if (JSON.stringify(spaceInfo(origin.device!)) !== this.sentSpace) this.sendSpaceInfo();
    this.sendLicenses('changed');
  }

  protected override take(
    topic: string,
    payload: Buffer,
    publication: Publication,
    properties: IPublishPacket['properties'],
  ): void {
    const name = ownTopic(this.clientId, topic, PUBLISHED);
    if (name === undefined) {
      this.auditTopic(topic, 'publish on');
      this.connection.acknowledge(publication, Reason.NotAuthorized);
      return;
    }
    const { device_id: deviceId, access_key: accessKey } = properties?.userProperties ?? {};
    if (deviceId !== this.clientId || accessKey !== this.v1.accessKey) {
      const expected = 'expected the user properties device_id and access_key of the device, each once';
      this.refuse(publication, topic, expected, Reason.NotAuthorized, 'not_authorized');
      return;
    }
    this.contacted();
    this.takeOwn(name, topic, payload, publication);
  }

  private takeOwn(name: Published, topic: string, payload: Buffer, publication: Publication): void {
    switch (name) {
      case 'telemetry':
        this.takeTelemetry(topic, payload, publication);
        break;
      case 'get':
        this.sendSpaceInfo();
        this.sendLicenses('all');
        this.connection.acknowledge(publication);
        break;
      case 'update': {
        const update = readUpdate(payload);
        if ('problem' in update) this.refuse(publication, topic, update.problem);
        else this.change(topic, publication, update);
        break;
      }
      case 'cloud_settings/update': {
        const setting = readSetting(payload);
        if ('problem' in setting) this.refuse(publication, topic, setting.problem);
        else this.change(topic, publication, setting);
        break;
      }
      case 'license/update':
        this.takeLicenseReport(topic, payload, publication);
        break;
      case 'config/update': {
        const values = parseObject(payload);
        if ('problem' in values) this.refuse(publication, topic, values.problem);
        else this.refuse(publication, topic, 'configurations are not served', Reason.ImplementationSpecific);
        break;
      }
      case 'commands/update': {
        const answer = readCommandAnswer(payload);
        this.refuse(publication, topic, 'problem' in answer ? answer.problem : 'no command of the device has this id');
        break;
      }
    }
  }

  private takeTelemetry(topic: string, payload: Buffer, publication: Publication): void {
    const telemetry = readTelemetry(payload);
    if ('problem' in telemetry) {
      this.refuse(publication, topic, telemetry.problem);
      return;
    }
    const { message, override } = telemetry;
    const origin = this.origins![override ? 'replaced' : 'merged'];
    this.tools.data.take(message, origin, this.connection, publication, this.audit, this.partition);
  }

  private takeLicenseReport(topic: string, payload: Buffer, publication: Publication): void {
    const report = readLicenseReport(payload);
    if ('problem' in report) {
      this.refuse(publication, topic, report.problem);
      return;
    }
    const device = { tenantId: this.tenantId, deviceId: this.deviceId! };
    this.inTurn(topic, publication, () => callRpc(this.v1.bus, reportLicense, { ...device, ...report }));
  }

  private change(topic: string, publication: Publication, change: Partial<ChangeOfDevice>): void {
    const { tenantId, clientId: nodeId } = this;
    const device = { tenantId, nodeId, deviceId: this.deviceId!, limits: this.credentials.key.limits };
    this.inTurn(topic, publication, () => callRpc(this.v1.bus, changeByDevice, { ...device, ...change }));
  }

  /** Does the work after all before it, as long as it takes to be answered. */
  private inTurn(topic: string, publication: Publication, work: () => Promise<unknown>): void {
    this.changing = this.changing.then(async () => {
      while (!this.connection.closed)
        try {
          await work();
          this.connection.acknowledge(publication);
          return;
        } catch (error) {
          if (error instanceof RpcError) {
            const known = error.code !== 'INTERNAL_ERROR';
            const reason = known ? Reason.PayloadFormatInvalid : Reason.Unspecified;
            this.refuse(publication, topic, problemOf(error), reason);
            return;
          }
          // Nobody answers at the moment.
          await delay(RETRY_MS);
        }
    });
  }

  private sendSpaceInfo(): void {
    const qos = this.subscriptions.get('space_info');
    const device = this.origin?.device;
    // What is loaded at the moment is sent when it is there.
    if (!device) delete this.sentSpace;
    if (qos === undefined || !device) return;
    const info = spaceInfo(device);
    this.sentSpace = JSON.stringify(info);
    const payload = JSON.stringify({ ...info, local_time: localTime(Date.now(), info.location.utc_offset) });
    this.documents.publish('space_info', { topic: deviceTopic(this.clientId, 'space_info'), payload, qos });
  }

  /** Sends all licenses, or those with an operation that was not sent yet. */
  private sendLicenses(which: 'all' | 'changed'): void {
    if (!this.subscriptions.has('license')) return;
    if (this.wantedLicenses !== 'all') this.wantedLicenses = which;
    if (this.readingLicenses) return;
    this.readingLicenses = true;
    void this.readLicenses().finally(() => {
      this.readingLicenses = false;
    });
  }

  private async readLicenses(): Promise<void> {
    const topic = deviceTopic(this.clientId, 'license');
    while (this.wantedLicenses && !this.connection.closed) {
      const which = this.wantedLicenses;
      delete this.wantedLicenses;
      const device = { tenantId: this.tenantId, deviceId: this.deviceId! };
      const licenses = await callRpc(this.v1.bus, deviceLicenses, device).catch(() => undefined);
      if (!licenses) {
        this.wantedLicenses ??= which;
        await delay(RETRY_MS);
        continue;
      }
      const qos = this.subscriptions.get('license');
      if (qos === undefined) continue;
      for (const { id, data, signature, operation, revision } of licenses) {
        if (which === 'changed' && this.sentLicenses.get(id) === revision) continue;
        this.sentLicenses.set(id, revision);
        const flags = { add: operation === 'add', update: operation === 'update', remove: operation === 'remove' };
        const payload = JSON.stringify({ data, signature, id, ...flags });
        this.documents.publish(`license/${id}`, { topic, payload, qos, responseTopic: `${topic}/update` });
      }
    }
  }

  private refuse(
    publication: Publication,
    topic: string,
    problem: string,
    reason: Reason = Reason.PayloadFormatInvalid,
    type = 'bad_message',
  ): void {
    this.audit.error(type, `Message on ${topic} refused: ${problem}`, { topic });
    this.connection.acknowledge(publication, reason);
  }

  private auditTopic(topic: string, verb: string): void {
    const shown = topic.slice(0, 256);
    this.audit.error('bad_topic', `Client ${this.clientId} may not ${verb} the topic ${shown}`, { topic: shown });
  }
}

function problemOf({ message, details }: RpcError): string {
  return Array.isArray(details) ? describeErrors(details as FieldError[]) : message;
}
