import { createServer } from 'node:net';
import { Aedes } from 'aedes';

// A broker that keeps nothing on disk, in a process of its own: says its port to whoever forked it.
const broker = await Aedes.createBroker({ concurrency: 0 });
const server = createServer(broker.handle);
server.listen(0, '127.0.0.1', () =>
  process.send?.(/** @type {import('node:net').AddressInfo} */ (server.address()).port),
);
