/** Which sessions had their lifetime renewed lately: a seven-day TTL does not need an EXPIRE for every event. */

const MAX_REMEMBERED = 10_000;

export class RenewedSessions {
  private readonly renewedAt = new Map<string, number>();

  /** @param everyMs Milliseconds for which one renewal is enough. Default one hour. */
  constructor(
    private readonly now: () => number,
    private readonly everyMs = 3_600_000,
  ) {}

  /** Whether this write should renew the session's lifetime; answering yes counts as done. */
  due(sessionId: string): boolean {
    const at = this.renewedAt.get(sessionId);
    const now = this.now();
    if (at !== undefined && now - at < this.everyMs && now >= at) return false;
    this.renewedAt.delete(sessionId);
    this.renewedAt.set(sessionId, now);
    if (this.renewedAt.size > MAX_REMEMBERED) {
      const oldest = this.renewedAt.keys().next();
      if (!oldest.done) this.renewedAt.delete(oldest.value);
    }
    return true;
  }

  /** A write that should have renewed it failed. */
  forget(sessionId: string): void {
    this.renewedAt.delete(sessionId);
  }
}
