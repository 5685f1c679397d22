import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../src/cli/base-command.js';
import {durationFlag, userFlag} from '../src/cli/flags.js';

export default class Mcp extends BaseCommand {
  static override summary = 'Lend the agents of this deployment to an MCP client, as tools.';
  static override description = `Speaks MCP on standard input and output, as clients that start their servers expect it, or
over HTTP with --http. Without --agent and --all-agents a client can only look: at agents, workers, queues, sessions and
dead letters. With them it can send to those agents, wait for them, and answer what they ask.

A call that takes longer than --wait returns with what to call next; the agent works on. A client that takes back
its call cancels the execution, unless --keep-running.

Needs the packages @modelcontextprotocol/server and @modelcontextprotocol/node beside by-toolkit.`;
  static override examples = [
    '<%= config.bin %> mcp --all-agents',
    '<%= config.bin %> mcp --agent translator --agent critic --user-code ada',
    'BY_MCP_TOKEN=$(openssl rand -hex 32) <%= config.bin %> mcp --all-agents --http 0.0.0.0:8931 --hostname agents.example.com',
  ];
  static override flags = {
    agent: Flags.string({
      description: 'an agent type clients may send to; repeatable',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'TYPE',
    }),
    'all-agents': Flags.boolean({
      description: 'clients may send to every agent type, also to those that come later',
      exclusive: ['agent'],
    }),
    views: Flags.boolean({
      description: 'clients may look at the deployment (default: yes)',
      allowNo: true,
      default: true,
    }),
    policy: Flags.string({
      char: 'p',
      description: 'what happens when nobody is online: as for by send',
      default: 'wake-and-wait',
    }),
    wait: durationFlag({description: 'how long a call waits for its agent', default: 45_000}),
    'keep-running': Flags.boolean({description: 'a call that is taken back does not cancel its execution'}),
    'user-code': userFlag(),
    http: Flags.string({
      description: 'serve over HTTP here, at /mcp; a bare port is of this machine only',
      helpValue: 'HOST:PORT',
    }),
    hostname: Flags.string({
      description: 'a name under which clients reach it, beside the host; repeatable',
      multiple: true,
      multipleNonGreedy: true,
      dependsOn: ['http'],
    }),
    'token-file': Flags.string({
      description: 'file with the token HTTP clients must show (default: BY_MCP_TOKEN)',
      helpValue: 'FILE',
      dependsOn: ['http'],
    }),
  };
  protected override readonly endsBySignal = true;

  async run() {
    const {flags} = await this.parse(Mcp);
    const {runMcp} = await import('../src/cli/run-mcp.js');
    return runMcp({
      store: await this.openStore(),
      printer: this.printer,
      signal: this.signal,
      isTerminal: process.stdin.isTTY,
      version: this.config.version,
      agents: flags['all-agents'] ? 'all' : (flags.agent ?? []),
      views: flags.views,
      policy: flags.policy,
      waitMs: flags.wait,
      cancels: !flags['keep-running'],
      userCode: flags['user-code'],
      http: flags.http,
      hostnames: flags.hostname ?? [],
      tokenFile: flags['token-file'],
    });
  }
}
