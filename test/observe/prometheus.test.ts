import {expect, test} from 'vitest';
import {MAX_SERIES, MetricsRegistry} from '../../src/observe/prometheus.js';

test('counters add up for each combination of labels', () => {
  const registry = new MetricsRegistry();
  const counter = registry.counter('by_things_total', 'Things.');
  counter.add({kind: 'a'});
  counter.add({kind: 'b'}, 3);
  counter.add({kind: 'a'});
  expect(registry.render()).toBe(
    [
      '# HELP by_things_total Things.',
      '# TYPE by_things_total counter',
      'by_things_total{kind="a"} 2',
      'by_things_total{kind="b"} 3',
      '',
    ].join('\n'),
  );
});

test('what others wrote can not break out of a label, nor forge a line', () => {
  const registry = new MetricsRegistry();
  registry.gauge('by_g', 'A\nB').set(1, {type: 'x"} 9\ny\\'});
  expect(registry.render()).toBe('# HELP by_g A\\nB\n# TYPE by_g gauge\nby_g{type="x\\"} 9\\ny\\\\"} 1\n');
});

test('a histogram counts each value in all buckets it fits', () => {
  const registry = new MetricsRegistry();
  const seconds = registry.histogram('by_s', 'Seconds.', [0.1, 1]);
  for (const value of [0.1, 0.5, 7]) seconds.observe(value);
  expect(registry.render().split('\n').slice(2, 7)).toEqual([
    'by_s_bucket{le="0.1"} 1',
    'by_s_bucket{le="1"} 2',
    'by_s_bucket{le="+Inf"} 3',
    'by_s_sum 7.6',
    'by_s_count 3',
  ]);
});

test('a gauge that was cleared tells nothing of what is gone', () => {
  const registry = new MetricsRegistry();
  const gauge = registry.gauge('by_g', 'G.');
  gauge.set(4, {type: 'gone'});
  gauge.clear();
  gauge.set(2, {type: 'here'});
  expect(registry.render()).toContain('by_g{type="here"} 2');
  expect(registry.render()).not.toContain('gone');
});

test('however many names others make up, memory is bounded and nothing is lost from the sum', () => {
  const registry = new MetricsRegistry();
  const counter = registry.counter('by_c', 'C.');
  for (let i = 0; i < MAX_SERIES + 100; i++) counter.add({type: `made-up-${i}`});
  const values = registry.render().match(/ \d+$/gm) ?? [];
  expect(values).toHaveLength(MAX_SERIES + 1);
  expect(registry.render()).toContain('by_c{type="other"} 100');
});
