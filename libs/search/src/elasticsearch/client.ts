import { type DiagnosticResult, Client, type ClientOptions, errors, Transport } from '@elastic/elasticsearch';

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

/** An answer was longer than its asker can hold. */
export class TooLargeError extends Error {}

/**
 * A request whose answer is given up as soon as it is known to be too large. (The client's own `maxResponseSize` ends the
 * process: it destroys a stream whose error nobody hears.)
 * @param most bytes
 * @throws TooLargeError; ResponseError as the client does
 */
export async function requestAtMost<Answer>(
  client: Client,
  most: number,
  request: { method: string; path: string; querystring: Record<string, unknown>; body: object },
): Promise<Answer> {
  const result = await client.transport.request<AsyncIterable<Buffer>>(request, { asStream: true, meta: true });
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of result.body) {
    if ((bytes += part.length) > most) throw new TooLargeError();
    parts.push(part);
  }
  const text = Buffer.concat(parts).toString();
  if (result.statusCode !== 200) throw new errors.ResponseError({ ...result, body: bodyOf(text) } as DiagnosticResult);
  return JSON.parse(text) as Answer;
}

function bodyOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Of a proxy.
    return text;
  }
}
