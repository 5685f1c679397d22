/** The few numbers the bench speaks in. */

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** @param q from 0 to 1. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN;
}

/** Half way between the two in the middle when there are two. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? NaN;
  return (upper + lower) / 2;
}

export const summary = (values: readonly number[]): Summary => ({
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values),
});

/** One ratio for each round: what ran beside each other is compared, nothing else. */
export const ratios = (ours: readonly number[], theirs: readonly number[]): number[] =>
  ours.map((value, round) => value / (theirs[round] ?? NaN));

/** `12,345`, or `0.42` when it is small. */
export const figure = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2);

/** Median with least and most. */
export function spread(values: readonly number[]): string {
  const {median: middle, min, max} = summary(values);
  return `${figure(middle)} [${figure(min)}..${figure(max)}]`;
}
