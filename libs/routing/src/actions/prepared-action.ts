import { VersionedCache } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { compileTemplate, TemplateError } from '@orrery/core/templates';
import type { ActionRow, ActionStore } from './action-store.js';
import { compileJsonPath } from './json-path.js';

/** A text of an action for a message. @throws UnrenderableError */
export type Render = (routed: string) => string;

/** An action ready to run. */
export type PreparedAction = ActionRow & {
  /** Body of a push, text of a mail or SMS. */
  text: Render;
  /** Of a mail. */
  subject: Render;
};

/** The text cannot be made of this message: no retry would change that. The message is for the tenant. */
export class UnrenderableError extends Error {}

/** Characters of what is sent, as of a message. */
const MAX_TEXT = 1_048_576;
const DEFAULT_SUBJECT = 'Notification: {{type}}';

/** Actions in use, opened and compiled once: their rows never change. */
export class PreparedActions {
  private readonly prepared: VersionedCache<PreparedAction>;

  constructor(database: Database, store: ActionStore) {
    this.prepared = new VersionedCache(async (key) => {
      const [tenantId, id] = key.split(' ') as [string, string];
      const row = (await store.read(database.manager, tenantId, [id])).get(id);
      if (!row) throw new UnrenderableError('the action has been deleted');
      return prepare(row);
    }, 5000);
  }

  /** @throws UnrenderableError when it has been deleted just now. */
  get(tenantId: string, id: string): Promise<PreparedAction> {
    return this.prepared.get(`${tenantId} ${id}`);
  }
}

export function prepare(row: ActionRow): PreparedAction {
  const nothing: Render = () => '';
  switch (row.kind) {
    case 'emails':
      return {
        ...row,
        text: template(row.action.contentTemplate),
        subject: template(row.action.subjectTemplate ?? DEFAULT_SUBJECT),
      };
    case 'sms':
      return { ...row, text: template(row.action.contentTemplate), subject: nothing };
    default:
      return { ...row, text: rendering(row.action), subject: nothing };
  }
}

const template = (text: string, root: (routed: string) => unknown = JSON.parse): Render => {
  const compiled = compileTemplate(text);
  return (routed) => {
    const view = root(routed);
    try {
      return compiled.render(view);
    } catch (error) {
      if (error instanceof TemplateError)
        throw new UnrenderableError(`the template cannot be rendered: ${error.message}`);
      throw error;
    }
  };
};

/** Body of a push: of the whole message or a part of it, by a template or as it is (manual 14.3.2). */
function rendering({ jsonPath, content }: { jsonPath?: string; content?: string }): Render {
  const select = jsonPath ? compileJsonPath(jsonPath) : undefined;
  const root = (routed: string): unknown => {
    const message: unknown = JSON.parse(routed);
    if (!select) return message;
    const selected = select(message);
    if (selected === undefined) throw new UnrenderableError(`the jsonPath ${jsonPath} selects nothing of this message`);
    return selected;
  };
  if (content) return template(content, root);
  if (!select) return (routed) => routed;
  return (routed) => {
    const selected = root(routed);
    const text = typeof selected === 'string' ? selected : JSON.stringify(selected);
    if (text.length > MAX_TEXT) throw new UnrenderableError(`the selected part is longer than ${MAX_TEXT} characters`);
    return text;
  };
}
