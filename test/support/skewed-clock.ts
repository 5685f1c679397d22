/** A process whose clock is wrong: every `Date` in it, by the same amount. Timers and performance.now() keep their pace. */

/** @returns arguments for node, before the script. */
export function skewedClock(skewMs: number): string[] {
  if (skewMs === 0) return [];
  const code = `
    const RightDate = Date;
    globalThis.Date = class extends RightDate {
      constructor(...given) {
        if (given.length === 0) super(RightDate.now() + ${skewMs});
        else super(...given);
      }
      static now() { return RightDate.now() + ${skewMs}; }
    };`;
  return ['--import', `data:text/javascript,${encodeURIComponent(code)}`];
}
