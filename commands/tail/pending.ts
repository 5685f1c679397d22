import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';
import {tailFlags} from '../../src/cli/tail-flags.js';

export default class TailPending extends BaseCommand {
  static override summary = 'Show commands that are held back, and follow them.';
  static override description = `Seen is what comes in; a manager takes it into the queues that \`by pending list\` shows, and it leaves this stream.
Nothing is taken from anybody: no consumer group is read. In a pipe it prints what is there and ends, unless --follow.`;
  static override examples = [
    '<%= config.bin %> tail pending -f',
    '<%= config.bin %> tail pending --since 10m -o jsonl',
  ];
  static override flags = {...tailFlags, output: outputFlag('table', 'json', 'jsonl')};

  async run() {
    const {flags} = await this.parse(TailPending);
    const {output: _form, ...chosen} = flags;
    const {tailStream} = await import('../../src/cli/tail-stream.js');
    return tailStream({
      ...chosen,
      store: await this.openStore(),
      printer: this.printer,
      terminal: this.terminal,
      signal: this.signal,
      output: this.output,
      stream: 'pending',
      setResume: command => (this.resumeWith = [command]),
    });
  }
}
