import type { ApiKeyChange, ApiKeyIdentity, ApiKeys } from '@orrery/core/auth';
import type { Logger } from '@orrery/core/telemetry';

/** A connection that was opened with an API key. */
export interface KeyHolder {
  readonly hash: string;
  /** The key as it is now; replaced by the watch. */
  key: ApiKeyIdentity;
  /** What else than its validity the key must have. */
  permitted(key: ApiKeyIdentity): boolean;
  /** The key permits this no longer. */
  revoked(): void;
}

const RETRY_MS = 1000;

/** Ends connections whose API key is deleted, deactivated, expired or changed for the worse (manual 4.3). */
export class KeyWatch {
  private readonly holders = new Map<string, Set<KeyHolder>>();
  private readonly expiring = new Set<KeyHolder>();
  private timer?: NodeJS.Timeout;
  private stopped = false;

  constructor(
    private readonly apiKeys: ApiKeys,
    private readonly logger: Logger,
  ) {
    apiKeys.onChange((change?: ApiKeyChange) => {
      const hashes = change ? [change.hash] : [...this.holders.keys()];
      void this.check(hashes);
    });
  }

  start(): void {
    this.timer = setInterval(() => {
      const now = Date.now();
      for (const holder of this.expiring) if (now >= holder.key.to!) holder.revoked();
    }, 1000);
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.timer);
  }

  add(holder: KeyHolder): void {
    const sharing = this.holders.get(holder.hash);
    if (sharing) sharing.add(holder);
    else this.holders.set(holder.hash, new Set([holder]));
    if (holder.key.to !== undefined) this.expiring.add(holder);
  }

  remove(holder: KeyHolder): void {
    const sharing = this.holders.get(holder.hash);
    if (sharing?.delete(holder) && sharing.size === 0) this.holders.delete(holder.hash);
    this.expiring.delete(holder);
  }

  private async check(hashes: string[]): Promise<void> {
    for (const hash of hashes) {
      if (this.stopped || !this.holders.has(hash)) continue;
      try {
        const { state, key } = await this.apiKeys.findByHash(hash);
        for (const holder of this.holders.get(hash) ?? [])
          if (state === 'valid' && holder.permitted(key!)) this.refresh(holder, key!);
          else holder.revoked();
      } catch (error) {
        this.logger.warn({ error: String(error) }, 'could not check an API key; trying again');
        setTimeout(() => void this.check([hash]), RETRY_MS).unref();
      }
    }
  }

  private refresh(holder: KeyHolder, key: ApiKeyIdentity): void {
    holder.key = key;
    if (key.to === undefined) this.expiring.delete(holder);
    else this.expiring.add(holder);
  }
}
