/** Runs one command class in this process and collects what it would have shown. */
import type {Config} from '@oclif/core';
import {Errors} from '@oclif/core';
import {vi} from 'vitest';
import type {LocalCommand} from '../../src/cli/local-command.js';

export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly exit: number;
}

type CommandClass = (new (argv: string[], config: Config) => LocalCommand) & {id: string};

const config = {
  bin: 'by',
  topicSeparator: ':',
  runHook: async () => ({successes: [], failures: []}),
} as unknown as Config;

export async function runCommand(Command: CommandClass, argv: string[]): Promise<Ran> {
  const written = {stdout: '', stderr: ''};
  const spies = (['stdout', 'stderr'] as const).map(name =>
    vi.spyOn(process[name], 'write').mockImplementation(chunk => {
      written[name] += String(chunk);
      return true;
    }),
  );
  let exit = 0;
  try {
    const command = new Command(argv, config);
    command.id = Command.id;
    await (command as unknown as {_run(): Promise<unknown>})._run();
  } catch (error) {
    if (!(error instanceof Errors.ExitError)) throw error;
    exit = error.oclif.exit ?? 1;
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return {...written, exit};
}
