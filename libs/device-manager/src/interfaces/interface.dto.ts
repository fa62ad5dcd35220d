import { Transform } from 'class-transformer';
import { IsBoolean, IsObject, IsOptional, IsString, Matches } from 'class-validator';
import { DEVICE_ID } from '@orrery/core/messages';
import type { Definition } from '../connectors/connector.js';
import type { Interface } from './interface.entity.js';

// The manual's examples send booleans as strings (5.2.1.6).
const BooleanText = (): PropertyDecorator =>
  Transform(({ value }: { value: unknown }) => (value === 'true' ? true : value === 'false' ? false : value));

export class CreateInterfaceDto {
  @IsString({ message: 'the id of a connector, such as mqtt' })
  connector!: string;

  @IsOptional()
  @BooleanText()
  @IsBoolean({ message: 'true or false' })
  enabled?: boolean | null;

  @IsObject({ message: "an object: the connector's interface definition" })
  definition!: Definition;
}

export class UpdateInterfaceDto {
  @IsOptional()
  @Matches(DEVICE_ID, { message: 'urn:lo:nsid:{ns}:{id}' })
  deviceId?: string | null;

  @IsOptional()
  @BooleanText()
  @IsBoolean({ message: 'true or false' })
  enabled?: boolean | null;

  @IsOptional()
  @IsObject({ message: "an object: fields of the connector's interface definition" })
  definition?: Definition | null;
}

/** Manual 5.2.1.3. */
export interface InterfaceView {
  connector: string;
  nodeId: string;
  deviceId: string;
  enabled: boolean;
  status: string;
  definition: Definition;
  lastContact?: string;
  activity: Record<string, unknown>;
  capabilities: Interface['capabilities'];
  created: string;
  updated: string;
}

export const interfaceView = (row: Interface): InterfaceView => ({
  connector: row.connector,
  nodeId: row.nodeId,
  deviceId: row.deviceId,
  enabled: row.enabled,
  status: row.status,
  definition: row.definition,
  ...(row.lastContact === null ? {} : { lastContact: row.lastContact.toISOString() }),
  activity: row.activity,
  capabilities: row.capabilities,
  created: row.created.toISOString(),
  updated: row.updated.toISOString(),
});
