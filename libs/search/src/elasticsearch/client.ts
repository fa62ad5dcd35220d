import { Client, Transport, type ClientOptions } from '@elastic/elasticsearch';

type TransportOptions = ConstructorParameters<typeof Transport>[0];

/** Plain JSON is what versions 7 and 8 both speak; the client's own content types are for 8 alone. */
class PlainTransport extends Transport {
  constructor({ productCheck: _unused, ...options }: TransportOptions) {
    super({
      ...options,
      vendoredHeaders: {
        jsonContentType: 'application/json',
        ndjsonContentType: 'application/x-ndjson',
        accept: 'application/json',
      },
    });
  }
}

/** @param url with user and password when the cluster wants them. */
export const elasticsearchClient = (url: string): Client =>
  new Client({
    node: url,
    Transport: PlainTransport as ClientOptions['Transport'],
    // Whoever asks knows whether to ask again.
    maxRetries: 0,
    requestTimeout: 15_000,
  } as ClientOptions);
