import { serveRpc } from '@orrery/core/bus';
import { Secrets } from '@orrery/core/secrets';
import type { Running, Service } from '@orrery/core/service';
import { ConnectorsController } from './connectors/connectors.controller.js';
import {
  changeByDevice,
  deviceLicenses,
  findDeviceAccess,
  reportLicense,
  resolveNode,
  targetedDevices,
} from './contract.js';
import { DeviceChangesService } from './device-access/device-changes.service.js';
import { RegistrationController } from './device-access/registration.controller.js';
import { RegistrationService } from './device-access/registration.service.js';
import { Device } from './devices/device.entity.js';
import { DeviceStreamsController } from './devices/device-streams.controller.js';
import { DeviceStreamsService } from './devices/device-streams.service.js';
import { DevicesController } from './devices/devices.controller.js';
import { DevicesService } from './devices/devices.service.js';
import { FirstStatistics } from './devices/first-statistics.js';
import { devicesOfTargets } from './devices/targets.js';
import { deviceStatesReader } from './explorer/device-states.reader.js';
import { ExplorerController } from './explorer/explorer.controller.js';
import { SearchService } from './explorer/search.service.js';
import { StatsService } from './explorer/stats.service.js';
import { Group } from './groups/group.entity.js';
import { GroupsController } from './groups/groups.controller.js';
import { GroupsService } from './groups/groups.service.js';
import { Interface } from './interfaces/interface.entity.js';
import { InterfacesController } from './interfaces/interfaces.controller.js';
import { InterfacesService } from './interfaces/interfaces.service.js';
import { LicensesController } from './licenses/licenses.controller.js';
import { LicensesService } from './licenses/licenses.service.js';
import { migrations } from './migrations.js';
import { NodesService } from './nodes/nodes.service.js';
import { SessionExpiry } from './sessions/session-expiry.js';
import { sessionsReader } from './sessions/sessions.reader.js';
import { TelemetryController } from './telemetry/telemetry.controller.js';
import { TelemetryService } from './telemetry/telemetry.service.js';

/** Devices, their interfaces, groups and licenses, and the explorer; the state of sessions; who a node is, for connectors. */
export const deviceManager: Service = {
  name: 'device-manager',
  schema: { name: 'device_manager', entities: [Device, Group, Interface], migrations },
  restPaths: ['/api/v1/deviceMgt', '/v1/devices'],
  build({ audit, bus, config, database, logger, roles }) {
    const groups = new GroupsService(database, bus.partitions);
    const secrets = new Secrets(config);
    const nodes = new NodesService(database, bus.partitions, new FirstStatistics(database, logger));
    const registration = new RegistrationService(database, nodes, config);
    const licenses = new LicensesService(database);
    const changes = new DeviceChangesService(database, bus.partitions);
    const running: Running[] = [];
    if (roles.worker)
      running.push(
        sessionsReader(bus, database),
        deviceStatesReader(bus, database, audit),
        new SessionExpiry(bus, database, logger),
      );
    if (roles.api) running.push(answerOthers());
    return {
      controllers: [
        ConnectorsController,
        InterfacesController,
        DevicesController,
        DeviceStreamsController,
        GroupsController,
        ExplorerController,
        LicensesController,
        RegistrationController,
        TelemetryController,
      ],
      providers: [
        { token: DevicesService, value: new DevicesService(database, groups, secrets, bus.partitions) },
        { token: DeviceStreamsService, value: new DeviceStreamsService(bus, database) },
        { token: InterfacesService, value: new InterfacesService(database, secrets, bus.partitions) },
        { token: GroupsService, value: groups },
        { token: LicensesService, value: licenses },
        { token: RegistrationService, value: registration },
        { token: TelemetryService, value: new TelemetryService(database) },
        { token: SearchService, value: new SearchService(database) },
        { token: StatsService, value: new StatsService(database) },
      ],
      running,
    };

    function answerOthers(): Running {
      let answering: Array<ReturnType<typeof serveRpc>> = [];
      return {
        async start() {
          answering = [
            serveRpc(bus, resolveNode, (request) => nodes.resolve(request)),
            serveRpc(bus, findDeviceAccess, async ({ id }) => ({ access: await registration.find(id) })),
            serveRpc(bus, targetedDevices, (targets) => devicesOfTargets(database, targets)),
            serveRpc(bus, deviceLicenses, ({ tenantId, deviceId }) => licenses.of(tenantId, deviceId)),
            serveRpc(bus, reportLicense, async (report) => {
              await licenses.report(report);
              return {};
            }),
            serveRpc(bus, changeByDevice, async (change) => {
              await changes.change(change);
              return {};
            }),
          ];
        },
        async stop() {
          await Promise.all(answering.map((each) => each.drain()));
          await nodes.idle();
        },
      };
    }
  },
};
