/** The plugin of docs/plugins.md, as it is, loaded in each of the three ways. */
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import glossary from '../../examples/plugins/glossary.js';
import {translator} from '../../examples/translator.js';
import {GatewayClient} from '../../src/client/client.js';
import {followExecution} from '../../src/client/follow-execution.js';
import {silentLogger} from '../../src/log.js';
import type {PluginSource} from '../../src/plugins/load-plugins.js';
import {eventKind, eventText} from '../../src/protocol/events.js';
import {readReports} from '../../src/store/plugin-state.js';
import type {Store} from '../../src/store/store.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachStore, until} from '../support/stores.js';

async function ask(store: Store, content: string): Promise<string[]> {
  const sent = await new GatewayClient(store).send({agentType: 'translator', content});
  const said: string[] = [];
  const events = followExecution(store, sent);
  for (let next = await events.next(); !next.done; next = await events.next())
    if (next.value.kind === 'event' && eventKind(next.value.event) !== 'end')
      said.push(eventText(next.value.event));
  return said;
}

const ways: readonly (readonly [string, PluginSource])[] = [
  ['a list', glossary],
  ['a function', ({settings}) => (settings['language'] === 'German' ? [glossary] : [])],
  ['a folder', join(import.meta.dirname, '../../examples/plugins')],
];

describeEachStore('the plugin of the docs', at => {
  test.each(ways)('comes from %s', async (_way, source) => {
    const store = at.open();
    const worker = await startWorker(store, {
      ...{agents: [translator], plugins: [source], pluginSettings: {language: 'German'}, log: silentLogger},
    });
    at.cleanup(() => worker.stop({drainMs: 0}));
    expect(await ask(store, 'the worker reads the queue')).toEqual([
      'Translate into German, plainly: the worker reads the queue',
      'the travailleur reads the file',
    ]);
    const sent = await new GatewayClient(store).reloadPlugins('translator');
    await until(
      async () => (await new GatewayClient(store).collectReloadAcks(sent.reloadId)).acks.length === 1,
    );
    const [report] = await readReports(store, [worker.workerId]);
    expect(report?.plugins[0]).toMatchObject({
      name: 'glossary',
      hooks: {onTaskStart: {calls: 1, failures: 0}},
    });
  });
});

test('docs/plugins.md shows it as it is', () => {
  const read = (file: string) => readFileSync(join(import.meta.dirname, '../..', file), 'utf8');
  const flat = (code: string) => code.replaceAll(/^ +/gm, '').trim();
  const shown = [
    ...read('docs/plugins.md').matchAll(/```ts\n([^`]*(?:`[^`]+`[^`]*)*)\n```\n\n_`(examples\/[^`]+)`/g),
  ];
  expect(shown.map(([, , file]) => file)).toEqual(['examples/plugins/glossary.ts', 'examples/translator.ts']);
  for (const [, code = '', file = ''] of shown) expect(flat(read(file)), file).toContain(flat(code));
});
