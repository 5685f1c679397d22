import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {LocalCommand} from '../src/cli/local-command.js';

const ROLES = ['client', 'worker', 'manager', 'viewer', 'service'] as const;

export default class Acl extends LocalCommand {
  static override summary = 'Print the line that gives a Redis user exactly the rights of a role.';
  static override description = `client   sends and follows; may not cancel what runs, nor speak to one worker
worker   serves the agent types named, under worker ids with the prefix named
manager  carries out wakeups, releases and replays; for operators too
viewer   reads everything, changes nothing
service  registers itself for others to find, and finds them
The line holds no password: give the user one beside it, ACL SETUSER NAME '>password'. Applied again it replaces the
rights and keeps the passwords. Whoever may add to a queue may also wipe it (XADD with MAXLEN): Redis has no rule
against that, so clients belong to services you trust, not to tenants.`;
  static override examples = [
    '<%= config.bin %> acl client',
    '<%= config.bin %> acl worker --agent-type translator --worker-prefix tr- --key-schema v2',
    '<%= config.bin %> acl viewer --redis-version 7.2 | redis-cli',
  ];
  static override args = {
    role: Args.option({options: ROLES, description: 'whose rights'})({required: true}),
  };
  static override flags = {
    user: Flags.string({description: 'name of the user; default: the role', helpValue: 'NAME'}),
    'agent-type': Flags.string({
      description: 'agent type the worker serves; may be repeated; default: all',
      helpValue: 'TYPE',
      multiple: true,
    }),
    'worker-prefix': Flags.string({
      description: 'what the ids of its workers begin with; default: anything',
      helpValue: 'TEXT',
    }),
    'key-schema': Flags.option({
      options: ['v1', 'v2'] as const,
      default: 'v1',
      description: 'layout of the keys',
    })(),
    'redis-version': Flags.option({
      options: ['7.0', '7.2'] as const,
      default: '7.0',
      description: '7.2 for that and later, and for Valkey; 7.0 refuses its rules',
    })(),
  };

  async run() {
    const {args, flags} = await this.parse(Acl);
    const {printAcl} = await import('../src/cli/print-acl.js');
    return printAcl(this.printer, {
      role: args.role,
      user: flags.user ?? args.role,
      agentTypes: flags['agent-type'],
      workerPrefix: flags['worker-prefix'],
      keySchema: flags['key-schema'],
      since72: flags['redis-version'] === '7.2',
    });
  }
}
