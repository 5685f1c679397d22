/** So many may be inside at once; the others wait, first come, first served. */
export class Places {
  private inside = 0;
  private waiting: ((mayEnter: boolean) => void)[] = [];
  private isClosed = false;

  constructor(private readonly count: number) {}

  /** Those inside, and those that wait. */
  get wanted(): number {
    return this.inside + this.waiting.length;
  }

  /** @returns false once it is closed. Whoever got true calls {@link leave} once. */
  enter(): Promise<boolean> {
    if (this.isClosed) return Promise.resolve(false);
    if (this.inside < this.count) {
      this.inside++;
      return Promise.resolve(true);
    }
    return new Promise(resolve => this.waiting.push(resolve));
  }

  leave(): void {
    const next = this.waiting.shift();
    if (next === undefined) this.inside--;
    else next(true);
  }

  close(): void {
    this.isClosed = true;
    for (const letGo of this.waiting.splice(0)) letGo(false);
  }
}
