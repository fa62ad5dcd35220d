const TICK_MS = 500;
/** Two minutes: whoever is due later is looked at once per turn. */
const SLOTS = 240;

/** Something with a deadline that may move while it waits. */
export interface Timed {
  /** Epoch milliseconds; undefined when there is nothing to wait for any more. */
  deadline(): number | undefined;
  expired(): void;
}

/** One timer for all connections: a deadline that moves with every packet costs nothing until it would be due. */
export class TimerWheel {
  private readonly slots = Array.from({ length: SLOTS }, () => new Set<Timed>());
  private readonly places = new Map<Timed, Set<Timed>>();
  private position = 0;
  private timer?: NodeJS.Timeout;

  start(): void {
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** Watches the item, by the deadline that it has now. */
  add(item: Timed): void {
    this.remove(item);
    const deadline = item.deadline();
    if (deadline === undefined) return;
    const ticks = Math.ceil((deadline - Date.now()) / TICK_MS);
    const slot = this.slots[(this.position + Math.min(Math.max(ticks, 1), SLOTS - 1)) % SLOTS]!;
    slot.add(item);
    this.places.set(item, slot);
  }

  remove(item: Timed): void {
    this.places.get(item)?.delete(item);
    this.places.delete(item);
  }

  private tick(): void {
    this.position = (this.position + 1) % SLOTS;
    const due = this.slots[this.position]!;
    if (due.size === 0) return;
    this.slots[this.position] = new Set();
    // When this process was held up, what came meanwhile is read first.
    setImmediate(() => this.look(due));
  }

  private look(due: Set<Timed>): void {
    const now = Date.now();
    for (const item of due) {
      this.places.delete(item);
      const deadline = item.deadline();
      if (deadline === undefined) continue;
      if (deadline <= now) item.expired();
      else this.add(item);
    }
  }
}
