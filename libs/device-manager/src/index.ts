import { serveRpc } from '@orrery/core/bus';
import { Secrets } from '@orrery/core/secrets';
import type { Running, Service } from '@orrery/core/service';
import { ConnectorsController } from './connectors/connectors.controller.js';
import { resolveNode } from './contract.js';
import { Device } from './devices/device.entity.js';
import { DevicesController } from './devices/devices.controller.js';
import { DevicesService } from './devices/devices.service.js';
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
import { migrations } from './migrations.js';
import { NodesService } from './nodes/nodes.service.js';
import { SessionExpiry } from './sessions/session-expiry.js';
import { sessionsReader } from './sessions/sessions.reader.js';

/** Devices, their interfaces and groups, and the explorer; the state of sessions; who a node is, for connectors. */
export const deviceManager: Service = {
  name: 'device-manager',
  schema: { name: 'device_manager', entities: [Device, Group, Interface], migrations },
  restPaths: ['/api/v1/deviceMgt'],
  build({ bus, config, database, logger, roles }) {
    const groups = new GroupsService(database);
    const secrets = new Secrets(config);
    const nodes = new NodesService(database, groups, bus.partitions);
    const running: Running[] = [];
    if (roles.worker)
      running.push(
        sessionsReader(bus, database),
        deviceStatesReader(bus, database),
        new SessionExpiry(bus, database, logger),
      );
    if (roles.api) running.push(answerNodes());
    return {
      controllers: [
        ConnectorsController,
        InterfacesController,
        DevicesController,
        GroupsController,
        ExplorerController,
      ],
      providers: [
        { token: DevicesService, value: new DevicesService(database, groups, secrets, bus.partitions) },
        { token: InterfacesService, value: new InterfacesService(database, secrets, bus.partitions) },
        { token: GroupsService, value: groups },
        { token: SearchService, value: new SearchService(database) },
        { token: StatsService, value: new StatsService(database) },
      ],
      running,
    };

    function answerNodes(): Running {
      let stopAnswering: (() => Promise<void>) | undefined;
      return {
        async start() {
          const subscription = serveRpc(bus, resolveNode, (request) => nodes.resolve(request));
          stopAnswering = () => subscription.drain();
        },
        async stop() {
          await stopAnswering?.();
        },
      };
    }
  },
};
