// Health check of the image: 0 while the process answers.
const port = process.env['ORRERY_HTTP_PORT'] ?? '8080';
const signal = AbortSignal.timeout(4000);
const alive = await fetch(`http://127.0.0.1:${port}/health/live`, { signal }).then(
  ({ ok }) => ok,
  () => false,
);
process.exit(alive ? 0 : 1);
