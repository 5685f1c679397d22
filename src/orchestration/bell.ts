/** Wakes a role that waits for its next look: another role of this process has done what it may have waited for. */
export class Bell {
  private isRung = false;
  private wake: (() => void) | undefined;

  /** Whoever waits goes on; who is busy looks once more afterwards. */
  ring(): void {
    this.isRung = true;
    this.wake?.();
  }

  /**
   * Resolves after so many milliseconds, when it rings or has rung since it was waited for last, or when the signal aborts.
   * One waits at a time. Nothing is left behind on a signal that lives as long as the process.
   * @returns whether it rang.
   */
  wait(ms: number, signal: AbortSignal): Promise<boolean> {
    return new Promise(resolve => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.wake = undefined;
        const wasRung = this.isRung;
        this.isRung = false;
        resolve(wasRung);
      };
      const timer = setTimeout(done, this.isRung || signal.aborted ? 0 : ms);
      this.wake = done;
      signal.addEventListener('abort', done);
    });
  }
}
