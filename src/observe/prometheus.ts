/**
 * Metrics in the text format of Prometheus, version 0.0.4: counters, gauges and histograms that live in this process.
 * Label values come from the wire, so each metric keeps at most {@link MAX_SERIES} of them; what is more is counted
 * under `other`.
 */

export type Labels = Readonly<Record<string, string>>;

interface Named {
  readonly name: string;
  readonly help: string;
}

/** Series of one metric: agent types are named by whoever may send. */
export const MAX_SERIES = 500;

interface Metric extends Named {
  readonly type: 'counter' | 'gauge' | 'histogram';
  lines(): string[];
}

export interface Counter {
  add(labels?: Labels, by?: number): void;
}

export interface Gauge {
  set(value: number, labels?: Labels): void;
  /** Forget all series: before those that are there now are set. */
  clear(): void;
}

export interface Histogram {
  /** @param value in the unit of the metric's name. */
  observe(value: number, labels?: Labels): void;
}

export class MetricsRegistry {
  readonly #metrics: Metric[] = [];

  counter(name: string, help: string): Counter {
    const series = new Series<number>(() => 0);
    this.#metrics.push({name, help, type: 'counter', lines: () => series.lines(name)});
    return {add: (labels = {}, by = 1) => series.update(labels, value => value + by)};
  }

  gauge(name: string, help: string): Gauge {
    const series = new Series<number>(() => 0);
    this.#metrics.push({name, help, type: 'gauge', lines: () => series.lines(name)});
    return {
      set: (value, labels = {}) => series.update(labels, () => value),
      clear: () => series.clear(),
    };
  }

  /** @param bounds upper ends of the buckets, ascending. */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    const series = new Series<Buckets>(() => ({counts: bounds.map(() => 0), sum: 0, count: 0}));
    const lines = () =>
      series
        .entries()
        .flatMap(([labels, {counts, sum, count}]) => [
          ...bounds.map((le, at) => line(`${name}_bucket`, {...labels, le: String(le)}, counts[at] ?? 0)),
          line(`${name}_bucket`, {...labels, le: '+Inf'}, count),
          line(`${name}_sum`, labels, sum),
          line(`${name}_count`, labels, count),
        ]);
    this.#metrics.push({name, help, type: 'histogram', lines});
    return {
      observe: (value, labels = {}) =>
        series.update(labels, ({counts, sum, count}) => ({
          counts: counts.map((seen, at) => (value <= (bounds[at] ?? Infinity) ? seen + 1 : seen)),
          sum: sum + value,
          count: count + 1,
        })),
    };
  }

  /** Everything there is, in the order in which it was made. */
  render(): string {
    return this.#metrics
      .map(metric => {
        const {name, help, type} = metric;
        return [`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} ${type}`, ...metric.lines(), ''].join(
          '\n',
        );
      })
      .join('');
  }
}

interface Buckets {
  /** How many were at most the bound, bucket by bucket. */
  readonly counts: readonly number[];
  readonly sum: number;
  readonly count: number;
}

/** The values of one metric by their labels. */
class Series<Value> {
  readonly #values = new Map<string, {readonly labels: Labels; readonly value: Value}>();

  constructor(private readonly initial: () => Value) {}

  update(labels: Labels, change: (value: Value) => Value): void {
    const isKnown = this.#values.has(keyOf(labels));
    const own = isKnown || this.#values.size < MAX_SERIES ? labels : others(labels);
    const before = this.#values.get(keyOf(own));
    this.#values.set(keyOf(own), {labels: own, value: change(before?.value ?? this.initial())});
  }

  entries(): [Labels, Value][] {
    return [...this.#values.values()].map(({labels, value}) => [labels, value]);
  }

  lines(this: Series<number>, name: string): string[] {
    return this.entries().map(([labels, value]) => line(name, labels, value));
  }

  clear(): void {
    this.#values.clear();
  }
}

const keyOf = (labels: Labels): string => JSON.stringify(Object.entries(labels));

const others = (labels: Labels): Labels =>
  Object.fromEntries(Object.keys(labels).map(name => [name, 'other']));

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${numberText(value)}`;
}

const numberText = (value: number): string =>
  value === Infinity ? '+Inf' : value === -Infinity ? '-Inf' : String(value);

const escapeHelp = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
const escapeLabel = (text: string): string => escapeHelp(text).replaceAll('"', '\\"');
