import { buildMessage, messageTime, newMessageId } from './index.js';

const build = (): ReturnType<typeof buildMessage>['message'] =>
  buildMessage({ streamId: 's', tags: [], metadata: {} }, { tenantId: 'tenant', connector: 'http' }).message;

it('a message was created at the time of its id, also when the clock goes back', () => {
  const before = build();
  expect(before.created).toBe(messageTime(before.id).toISOString());
  // As if the clock had been an hour ahead.
  newMessageId(Date.now() + 3_600_000);
  const after = build();
  expect(after.created).toBe(messageTime(after.id).toISOString());
  expect(after.created > before.created).toBe(true);
  expect(after.id > before.id).toBe(true);
});
