/** Wakes a role that waits for its next look: another role of this process has done what it may have waited for. */
import {sleep} from '../clock.js';

export class Bell {
  private isRung = false;
  private waiting: AbortController | undefined;

  /** Whoever waits goes on; who is busy looks once more afterwards. */
  ring(): void {
    this.isRung = true;
    this.waiting?.abort();
  }

  /** Resolves after so many milliseconds, when it rings or has rung since it was waited for last, or when the signal aborts. @returns whether it rang. */
  async wait(ms: number, signal: AbortSignal): Promise<boolean> {
    if (!this.isRung) {
      this.waiting = new AbortController();
      await sleep(ms, AbortSignal.any([signal, this.waiting.signal]));
    }
    const wasRung = this.isRung;
    this.isRung = false;
    return wasRung;
  }
}
