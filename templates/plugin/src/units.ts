/** Lengths and weights from one way of measuring to the other. */

const IN_METRIC = {
  miles: {to: 'km', factor: 1.609344},
  feet: {to: 'm', factor: 0.3048},
  inches: {to: 'cm', factor: 2.54},
  pounds: {to: 'kg', factor: 0.45359237},
} as const;
export type Unit = keyof typeof IN_METRIC;

export const UNITS = Object.keys(IN_METRIC) as [Unit, ...Unit[]];

/** @returns as a person would write it: `42.2 km`. */
export function toMetric(value: number, unit: Unit): string {
  const {to, factor} = IN_METRIC[unit];
  return `${Math.round(value * factor * 10) / 10} ${to}`;
}

/** The measures in a text, in order. */
export function measuresIn(text: string): {value: number; unit: Unit}[] {
  const found = text.matchAll(/(\d+(?:\.\d+)?)\s*(miles|feet|inches|pounds)\b/gi);
  return Array.from(found, ([, value, unit]) => ({value: Number(value), unit: unit?.toLowerCase() as Unit}));
}
