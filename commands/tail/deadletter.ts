import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';
import {tailFlags} from '../../src/cli/tail-flags.js';

export default class TailDeadletter extends BaseCommand {
  static override summary = 'Show dead letters, and follow them.';
  static override description = `Letters that were replayed or dropped are not there to begin with; \`by deadletter audit\` has them.
Nothing is taken from anybody: no consumer group is read. In a pipe it prints what is there and ends, unless --follow.`;
  static override aliases = ['tail:dlq'];
  static override examples = [
    '<%= config.bin %> tail deadletter -f',
    '<%= config.bin %> tail deadletter --since 10m -o jsonl',
  ];
  static override flags = {...tailFlags, output: outputFlag('table', 'json', 'jsonl')};

  async run() {
    const {flags} = await this.parse(TailDeadletter);
    const {output: _form, ...chosen} = flags;
    const {tailStream} = await import('../../src/cli/tail-stream.js');
    return tailStream({
      ...chosen,
      store: await this.openStore(),
      printer: this.printer,
      terminal: this.terminal,
      signal: this.signal,
      output: this.output,
      stream: 'deadletter',
      setResume: command => (this.resumeWith = [command]),
    });
  }
}
