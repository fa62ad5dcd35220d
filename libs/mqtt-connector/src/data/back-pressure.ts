import type { Connection } from '../server/connection.js';
import { Hold } from '../server/hold.js';

/** What is filled by clients and emptied by the bus. */
interface Filled {
  readonly saturated: boolean;
  onDrain(listener: () => void): void;
}

/** While the bus is slow, those who publish are not read. */
export class BackPressure {
  private readonly held = new Set<Connection>();

  constructor(private readonly publisher: Filled) {}

  /** To be called after each publication of the connection. */
  check(connection: Connection): void {
    if (!this.publisher.saturated) return;
    if (this.held.size === 0)
      this.publisher.onDrain(() => {
        const held = [...this.held];
        this.held.clear();
        for (const each of held) each.release(Hold.Bus);
      });
    this.held.add(connection);
    connection.hold(Hold.Bus);
  }
}
