import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../../src/cli/base-command.js';

export default class AgentQuotaClear extends BaseCommand {
  static override summary = 'Remove the quota of a user, its limit too: the user may send again.';
  static override examples = ['<%= config.bin %> agent quota clear u-42'];
  static override args = {user: Args.string({required: true, description: 'user code'})};

  async run() {
    const {args} = await this.parse(AgentQuotaClear);
    const {removeQuota} = await import('../../../src/cli/admission.js');
    return removeQuota(await this.openStore(), this.printer, args.user);
  }
}
