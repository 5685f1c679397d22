/** The few numbers the bench speaks in. */

/** @param q from 0 to 1. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** `12,345`, or `0.42` when it is small. */
export const figure = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2);

/** Median with least and most. */
export const spread = (values: readonly number[]): string =>
  `${figure(median(values))} [${figure(Math.min(...values))}..${figure(Math.max(...values))}]`;
