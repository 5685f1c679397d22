/** What `by init` asks a person; without one, the defaults, and an error for what has none. */
import {ByError} from '../errors.js';
import {agentTypeOf, agentTypeProblem, projectNameOf, projectNameProblem} from '../scaffold/names.js';
import {askText, confirm} from './prompt.js';

export interface Asked {
  readonly directory: string | undefined;
  readonly name: string | undefined;
  readonly agentType: string | undefined;
  readonly install: boolean | undefined;
  readonly git: boolean | undefined;
}

export interface Answers {
  readonly directory: string;
  readonly name: string;
  readonly agentType: string;
  readonly install: boolean;
  readonly git: boolean;
  /** The same choice as it would be typed, in pieces. */
  readonly asFlags: readonly string[];
}

/** @throws {ByError} USAGE if there is no folder and nobody to ask. */
export async function askForMissing(asked: Asked, isInteractive: boolean): Promise<Answers> {
  const directory = asked.directory ?? (await askDirectory(isInteractive));
  const name = asked.name ?? projectNameOf(directory);
  const derived = agentTypeOf(name);
  const agentType =
    asked.agentType ??
    (isInteractive
      ? await askText({question: 'Agent type', initial: derived, validate: agentTypeProblem})
      : derived);
  const install = asked.install ?? (isInteractive ? await confirm('Install the dependencies?', true) : true);
  const git = asked.git ?? (isInteractive ? await confirm('Make it a git repository?', true) : true);
  const asFlags = [
    directory,
    ...(asked.name === undefined ? [] : [` --name ${name}`]),
    ...(agentType === derived ? [] : [` --agent-type ${agentType}`]),
    install ? '' : ' --no-install',
    git ? '' : ' --no-git',
  ];
  return {directory, name, agentType, install, git, asFlags};
}

async function askDirectory(isInteractive: boolean): Promise<string> {
  if (isInteractive) {
    return askText({question: 'Name of the project', initial: 'my-agent', validate: projectNameProblem});
  }
  throw new ByError('USAGE', 'DIR is missing: the folder to create.', {
    hint: 'Name it, for example: by init echo-bot',
    next: ['by init echo-bot --yes'],
  });
}
