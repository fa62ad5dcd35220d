/** What a REST call answered. */
export interface ApiAnswer<Body> {
  status: number;
  headers: Headers;
  /** Parsed JSON; undefined when there is no body. */
  body: Body;
}

export interface ApiClient {
  get<Body = unknown>(path: string, headers?: Record<string, string>): Promise<ApiAnswer<Body>>;
  post<Body = unknown>(path: string, body?: unknown, headers?: Record<string, string>): Promise<ApiAnswer<Body>>;
  put<Body = unknown>(path: string, body?: unknown): Promise<ApiAnswer<Body>>;
  patch<Body = unknown>(path: string, body?: unknown): Promise<ApiAnswer<Body>>;
  delete<Body = unknown>(path: string, body?: unknown): Promise<ApiAnswer<Body>>;
}

/** A call that nobody answers ends with what was called, before Jest ends the whole test. */
const ANSWER_MS = 240_000;

/** Calls REST as a holder of this key. A string body is sent as it is, anything else as JSON. */
export function apiClient(url: string, apiKey?: string): ApiClient {
  const call =
    (method: string) =>
    async <Body>(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<ApiAnswer<Body>> => {
      const signal = AbortSignal.timeout(ANSWER_MS);
      try {
        const response = await fetch(url + path, {
          method,
          headers: {
            ...(apiKey === undefined ? {} : { 'x-api-key': apiKey }),
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
            ...headers,
          },
          ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
          signal,
        });
        const text = await response.text();
        return {
          status: response.status,
          headers: response.headers,
          body: (text === '' ? undefined : JSON.parse(text)) as Body,
        };
      } catch (error) {
        if (!signal.aborted) throw error;
        throw new Error(`${method} ${path} was not answered within ${ANSWER_MS / 1000} s`, { cause: error });
      }
    };
  return {
    get: (path, headers) => call('GET')(path, undefined, headers),
    post: (path, body, headers) => call('POST')(path, body, headers),
    put: (path, body) => call('PUT')(path, body),
    patch: (path, body) => call('PATCH')(path, body),
    delete: (path, body) => call('DELETE')(path, body),
  };
}
