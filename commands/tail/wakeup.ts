import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';
import {tailFlags} from '../../src/cli/tail-flags.js';

export default class TailWakeup extends BaseCommand {
  static override summary = 'Show requests to start workers, and follow them.';
  static override description = `A request that a manager has settled is deleted, so only those that are open are there to begin with.
Nothing is taken from anybody: no consumer group is read. In a pipe it prints what is there and ends, unless --follow.`;
  static override examples = [
    '<%= config.bin %> tail wakeup -f',
    '<%= config.bin %> tail wakeup --since 10m -o jsonl',
  ];
  static override flags = {...tailFlags, output: outputFlag('table', 'json', 'jsonl')};

  async run() {
    const {flags} = await this.parse(TailWakeup);
    const {output: _form, ...chosen} = flags;
    const {tailStream} = await import('../../src/cli/tail-stream.js');
    return tailStream({
      ...chosen,
      store: await this.openStore(),
      printer: this.printer,
      terminal: this.terminal,
      signal: this.signal,
      output: this.output,
      stream: 'wakeup',
      setResume: command => (this.resumeWith = [command]),
    });
  }
}
