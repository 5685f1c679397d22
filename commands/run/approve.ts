import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {outputFlag} from '../../src/cli/flags.js';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';
import {ByError} from '../../src/errors.js';

const DECISIONS = ['once', 'always', 'deny'];

export default class RunApprove extends WorkspaceCommand {
  static override summary = 'List what waits for a person, or allow or refuse one of it.';
  static override description = `An agent asks where the policy of its run says so (\`by task submit --ask\`). The first decision counts.
Who decides is noted as it is claimed: whoever may write to this Redis can approve.`;
  static override examples = [
    '<%= config.bin %> run approve',
    '<%= config.bin %> run approve apr_01JD3N2M --once',
    '<%= config.bin %> run approve apr_01JD3N2M --deny --note "not before the release"',
  ];
  static override args = {approval: Args.string({description: 'its id, or how it begins'})};
  static override flags = {
    once: Flags.boolean({description: 'allow exactly this, this time', exclusive: ['always', 'deny']}),
    always: Flags.boolean({
      description: 'allow this program or tool from now on, whatever its arguments',
      exclusive: ['deny'],
    }),
    deny: Flags.boolean({description: 'refuse it'}),
    note: Flags.string({description: 'why; kept with the run'}),
    as: Flags.string({description: 'who decides; default: the user of this machine', helpValue: 'NAME'}),
    workspace: workspaceFlag(),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {args, flags} = await this.parse(RunApprove);
    const {decideForPeople, listApprovalsForPeople, osUser} =
      await import('../../src/cli/tasks/approvals.js');
    const decision = flags.once
      ? 'allow-once'
      : flags.always
        ? 'allow-always'
        : flags.deny
          ? 'deny'
          : undefined;
    const {approval} = args;
    if (approval !== undefined && decision === undefined) {
      throw new ByError('USAGE', 'It is not said what is decided.', {
        hint: `Add one of ${DECISIONS.map(name => `--${name}`).join(', ')}.`,
      });
    }
    if (approval === undefined && decision !== undefined) {
      throw new ByError('USAGE', 'It is not said what is decided about.', {
        hint: 'Name the approval; `by run approve` lists them.',
      });
    }
    const at = await this.at(flags);
    if (approval === undefined || decision === undefined) return listApprovalsForPeople(at, this.output);
    return decideForPeople(at, approval, {decision, by: flags.as ?? osUser(), note: flags.note});
  }
}
