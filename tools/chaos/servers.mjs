import { createServer } from 'node:http';

/**
 * What a platform under test calls: a webhook that can be broken, and the server of a pipeline that cannot.
 *
 * @typedef {'works' | 'fails' | 'hangs' | 'closed'} WebhookMode answers 200, 500 or not at all, or refuses connections
 *
 * @typedef {object} CalledServers
 * @property {string} allow for `ORRERY_WEBHOOK_ALLOW`
 * @property {string} transformUrl answers each message with `value.transformed` added
 * @property {(run: string) => string} pushUrl
 * @property {(run: string) => Map<number, number>} pushes how often each number was taken, with an answer of 200
 * @property {(mode: WebhookMode) => Promise<void>} setMode of the webhook
 * @property {() => Promise<void>} close
 */

/** @returns {Promise<CalledServers>} */
export async function startCalledServers() {
  /** @type {WebhookMode} */
  let mode = 'works';
  /** @type {Map<string, Map<number, number>>} */
  const runs = new Map();
  const pushes = (/** @type {string} */ run) => {
    const known = runs.get(run) ?? new Map();
    runs.set(run, known);
    return known;
  };

  const webhook = answering((path, body, response) => {
    if (mode === 'hangs') return;
    if (mode === 'works') {
      const run = pushes(path.slice(1));
      const { n } = JSON.parse(body).value;
      run.set(n, (run.get(n) ?? 0) + 1);
    }
    response.writeHead(mode === 'fails' ? 500 : 200).end();
  });
  const transformer = answering((_path, body, response) => {
    const message = JSON.parse(body);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ ...message, value: { ...message.value, transformed: true } }));
  });
  const port = await listen(webhook, 0);
  const transformerPort = await listen(transformer, 0);
  return {
    allow: `127.0.0.1:${port},127.0.0.1:${transformerPort}`,
    transformUrl: `http://127.0.0.1:${transformerPort}/`,
    pushUrl: (run) => `http://127.0.0.1:${port}/${run}`,
    pushes,
    async setMode(next) {
      mode = next;
      // Requests without an answer end too, and so do connections that are kept for the next ones.
      webhook.closeAllConnections();
      if (mode === 'closed') await new Promise((resolve) => webhook.close(resolve));
      else if (!webhook.listening) await listen(webhook, port);
    },
    async close() {
      for (const server of [webhook, transformer]) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
}

/** @param {(path: string, body: string, response: import('node:http').ServerResponse) => void} answer */
const answering = (answer) =>
  createServer((request, response) => {
    /** @type {Buffer[]} */
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('error', () => undefined);
    request.on('end', () => answer(request.url ?? '/', Buffer.concat(chunks).toString(), response));
  });

/** @param {import('node:http').Server} server @param {number} port @returns {Promise<number>} */
const listen = (server, port) =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      resolve(/** @type {import('node:net').AddressInfo} */ (server.address()).port);
    });
  });
