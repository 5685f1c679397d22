/** The agents a user's file exports. */
import {existsSync} from 'node:fs';
import {resolve} from 'node:path';
import {importModule} from '../config/import-module.js';
import {ByError, messageOf} from '../errors.js';
import {GatewayWorker, type Agent} from './agent.js';

/**
 * Load a file and collect every agent it exports, by name or as default, alone or in an array.
 * @throws {ByError} WORKER_LOAD_FAILED, naming the file and what is wrong with it.
 */
export async function loadAgents(entry: string): Promise<Agent[]> {
  const file = resolve(entry);
  if (!existsSync(file)) {
    throw new ByError('WORKER_LOAD_FAILED', `There is no file ${entry}.`, {
      hint: 'Name the file that exports your agents.',
    });
  }
  let exports: Record<string, unknown>;
  try {
    exports = await importModule(file);
  } catch (error) {
    throw new ByError('WORKER_LOAD_FAILED', `${entry} can not be loaded: ${firstLines(messageOf(error))}`, {
      hint: 'Correct the file; run with --verbose for the whole error.',
      cause: error,
    });
  }
  const agents = new Set(
    Object.values(exports)
      .flat()
      .map(toAgent)
      .filter(agent => agent !== undefined),
  );
  if (agents.size === 0) {
    throw new ByError('WORKER_LOAD_FAILED', `${entry} exports no agent.`, {
      hint: 'Export what defineAgent returns, or a class that extends GatewayWorker.',
    });
  }
  return [...agents];
}

/** Recognised by shape, not by class: the user's project may hold its own copy of this package. */
function toAgent(value: unknown): Agent | undefined {
  if (value instanceof GatewayWorker) return value;
  if (typeof value === 'function') return isWorkerClass(value) ? new value() : undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  if (
    'type' in value &&
    'run' in value &&
    typeof value.type === 'string' &&
    typeof value.run === 'function'
  ) {
    return value as Agent;
  }
  return isWorkerLike(value) ? value : undefined;
}

function isWorkerClass(value: object): value is new () => GatewayWorker {
  const {prototype} = value as {prototype?: unknown};
  return typeof prototype === 'object' && prototype !== null && isWorkerLike(prototype);
}

function isWorkerLike(value: object): value is GatewayWorker {
  return 'getAgentTypes' in value && 'processCommand' in value;
}

/** A compiler's message may go on for pages; the place and the reason come first. */
const firstLines = (text: string): string => text.split('\n').slice(0, 4).join(' ').slice(0, 500);
