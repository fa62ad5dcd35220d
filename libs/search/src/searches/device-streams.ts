import { type Bus, serveRpc } from '@orrery/core/bus';
import { ApiError } from '@orrery/core/http';
import type { Running } from '@orrery/core/service';
import { type DeviceStream, streamsOfDevice } from '../contract.js';
import { MESSAGE_FIELDS, parseSearch } from '../dsl/index.js';
import type { SearchEngine } from '../search-engine.js';

/** As the engines answer the aggregations below. */
interface Bucket {
  key: string;
  doc_count: number;
  last: { value: number };
}

/** Answers the inventory, which streams a device sends to. */
export class DeviceStreams implements Running {
  private subscription?: ReturnType<typeof serveRpc>;

  constructor(
    private readonly bus: Bus,
    private readonly engine: SearchEngine,
  ) {}

  async start(): Promise<void> {
    this.subscription = serveRpc(this.bus, streamsOfDevice, async (request) => ({ streams: await this.of(request) }));
  }

  async stop(): Promise<void> {
    await this.subscription?.drain();
  }

  private async of({ tenantId, deviceId, from, limit }: Question): Promise<DeviceStream[]> {
    const filter = [{ term: { 'metadata.source': deviceId } }, { range: { created: { gte: from } } }];
    const request = parseSearch(
      {
        size: 0,
        query: { bool: { filter } },
        aggs: {
          streams: {
            terms: { field: 'streamId', size: limit, order: { last: 'desc' } },
            aggs: { last: { max: { field: 'created' } } },
          },
        },
      },
      'v1',
      (name) => MESSAGE_FIELDS[name],
      Date.now(),
    );
    const { aggregations } = await this.engine.search(tenantId, request).catch((error: unknown) => {
      // It would tell how to write another search, and nobody wrote this one.
      if (error instanceof ApiError && error.status === 400)
        throw new ApiError('SERVICE_UNAVAILABLE', {
          reason: 'the device has more messages than can be counted in time',
        });
      throw error;
    });
    return (aggregations!['streams'] as { buckets: Bucket[] }).buckets.map(({ key, doc_count, last }) => ({
      streamId: key,
      count: doc_count,
      lastUpdate: new Date(last.value).toISOString(),
    }));
  }
}

type Question = NonNullable<(typeof streamsOfDevice)['types']>['request'];
