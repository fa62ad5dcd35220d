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
  private readonly slots: Timed[][] = Array.from({ length: SLOTS }, () => []);
  private position = 0;
  private timer?: NodeJS.Timeout;

  start(): void {
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  add(item: Timed): void {
    const deadline = item.deadline();
    if (deadline === undefined) return;
    const ticks = Math.ceil((deadline - Date.now()) / TICK_MS);
    this.slots[(this.position + Math.min(Math.max(ticks, 1), SLOTS - 1)) % SLOTS]!.push(item);
  }

  private tick(): void {
    this.position = (this.position + 1) % SLOTS;
    const due = this.slots[this.position]!;
    if (due.length === 0) return;
    this.slots[this.position] = [];
    const now = Date.now();
    for (const item of due) {
      const deadline = item.deadline();
      if (deadline === undefined) continue;
      if (deadline <= now) item.expired();
      else this.add(item);
    }
  }
}
