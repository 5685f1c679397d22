/** `by acl`. */
import {ByError} from '../errors.js';
import {aclRules, type AclRole} from '../protocol/acl.js';
import {checkedId} from './ids.js';
import type {Printer} from './printer.js';

export interface PrintAcl {
  readonly role: AclRole;
  readonly user: string;
  readonly agentTypes: readonly string[] | undefined;
  readonly workerPrefix: string | undefined;
  readonly keySchema: 'v1' | 'v2';
  readonly since72: boolean;
}

/** @throws {ByError} USAGE for a worker's flags on another role, INVALID_INPUT for names that are none. */
export function printAcl(printer: Printer, request: PrintAcl) {
  const {role, agentTypes, workerPrefix} = request;
  if (role !== 'worker' && (agentTypes !== undefined || workerPrefix !== undefined)) {
    throw new ByError('USAGE', `The rights of a ${role} do not depend on agent types or worker ids.`, {
      hint: 'Leave --agent-type and --worker-prefix out, or ask for the role worker.',
    });
  }
  const rules = aclRules(role, {
    schema: request.keySchema,
    agentTypes: agentTypes?.map(type => checkedId(type, 'agent type')) ?? ['*'],
    workerPrefix: workerPrefix === undefined ? '' : checkedId(workerPrefix, 'beginning of a worker id'),
    since72: request.since72,
  });
  const user = checkedId(request.user, 'user name');
  const line = ['ACL', 'SETUSER', user, ...rules].join(' ');
  printer.out(line);
  return {role, user, rules, line};
}
