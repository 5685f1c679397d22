/** A provider: starts a worker when somebody wants one and none is online. docs/providers.md of by-toolkit */
import {spawn, type ChildProcess} from 'node:child_process';
import type {Provider} from 'by-toolkit';

const started = new Map<string, ChildProcess>();

const provider: Provider = {
  name: '{{name}}',

  /** May be called again for a request it has answered. Callers see for themselves who comes online. */
  async wakeup({targetAgentType}, {signal, isOnline}) {
    if (await isOnline()) return {status: 'READY'};
    if (signal.aborted) return {status: 'FAILED', reason: 'nobody waits any more'};
    if (!started.has(targetAgentType)) {
      // What starts your workers: a process of this machine here. WORKER_COMMAND is a program, without arguments.
      const child = spawn(process.env['WORKER_COMMAND'] ?? 'false', {
        env: {...process.env, BY_AGENT_TYPE: targetAgentType},
        stdio: 'inherit',
      });
      started.set(targetAgentType, child);
      const forget = () => started.delete(targetAgentType);
      child.once('exit', forget).once('error', forget);
    }
    return {status: 'STARTING', reason: 'its process was started'};
  },

  /** The manager ends: so does what it started. */
  async close() {
    for (const child of started.values()) child.kill('SIGTERM');
  },
};

export default provider;
