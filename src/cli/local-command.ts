/**
 * What all commands share: flags, output, errors, exit codes, signals. A command parses, calls one function, shows
 * the result and returns it; everything else happens here. oclif's own handling of `--json` loses exit codes,
 * warnings and the shape of errors (design: cli.md §0.2), so none of it is used.
 */
// Its parts, not '@oclif/core' itself: that loads what no command needs, for 20 ms.
import {Command} from '@oclif/core/command';
import * as Errors from '@oclif/core/errors';
import type {Input, ParserOutput} from '@oclif/core/parser';
import {ByError, messageOf} from '../errors.js';
import {generalFlags} from './flags.js';
import {toSnakeCase} from './json.js';
import {paint, Printer, type OutputMode, type Text} from './printer.js';
import {confirm, PromptAborted} from './prompt.js';
import {describe, printFailure, toByError} from './report-error.js';
import {Interrupted, Interruption, type Cause} from './signals.js';
import {terminalOf, type ColorMode, type Terminal} from './tty.js';

type Values = Record<string, unknown>;

/** A command that needs no Redis. */
export abstract class LocalCommand extends Command {
  static override baseFlags = generalFlags;

  /** Version of the shape of `data` in the JSON envelope. */
  static readonly schemaVersion: number = 1;

  /** A command that is normally ended by a signal (`worker run`, `dev`): ending after one is success, exit 0. */
  protected readonly endsBySignal: boolean = false;

  /** Commands that go on where this one stops (`by tail … --from ID`): shown when a signal ends it. */
  protected resumeWith: readonly string[] = [];

  protected readonly terminal: Terminal = terminalOf(process, process.env);
  // What can be told from the bare arguments, because the parser may be what fails.
  protected readonly printer: Printer = printerFor(peek(this.argv));

  readonly #interruption = new Interruption(process);
  #flags: Values = {};

  /** Aborted by the first Ctrl-C, SIGTERM, --timeout or closed pipe. Asking for it is the promise to end then. */
  protected get signal(): AbortSignal {
    return this.#interruption.signal;
  }

  /** Aborted by the second signal: a second is left. */
  protected get forceSignal(): AbortSignal {
    return this.#interruption.force;
  }

  /** Runs when the command ends, also by a signal or an error; the last one added runs first. */
  protected onExit(cleanup: () => unknown): void {
    this.#interruption.onExit(cleanup);
  }

  /** Whether a person may be asked something: a terminal on both ends, and nothing forbids it. */
  protected get canPrompt(): boolean {
    return this.terminal.canPrompt && this.#flags['no-input'] !== true && this.printer.mode === 'text';
  }

  /** The form of output asked for: `table` unless a flag says otherwise. */
  protected get output(): string {
    if (this.printer.mode !== 'text') return this.printer.mode;
    return typeof this.#flags.output === 'string' ? this.#flags.output : 'table';
  }

  /** Throws; for the places where an expression is wanted. */
  protected fail(error: ByError): never {
    throw error;
  }

  /**
   * Asks before something that can not be undone. `--yes` answers; without a terminal it is refused.
   * @returns Whether to go on.
   * @throws {ByError} INPUT_NEEDED when nobody can be asked.
   */
  protected async confirm(question: string): Promise<boolean> {
    if (this.#flags.yes === true) return true;
    if (!this.canPrompt) {
      throw new ByError('INPUT_NEEDED', `${question} Nobody can be asked here.`, {
        hint: 'Add --yes to confirm.',
      });
    }
    return confirm(question, false);
  }

  /** One line for people on standard output: strings are escaped, colours come from `paint`. */
  override log(first: Text = '', ...rest: Text[]): void {
    this.printer.out(first, ...rest);
  }

  /** One line for people on standard error. */
  override logToStderr(first: Text = '', ...rest: Text[]): void {
    this.printer.note(first, ...rest);
  }

  override warn<T extends Error | string>(input: T): T {
    this.printer.warn(typeof input === 'string' ? input : input.message);
    return input;
  }

  override jsonEnabled(): boolean {
    return this.printer.mode !== 'text';
  }

  protected override async parse<F extends Values, B extends Values, A extends Values>(
    options: Input<F, B, A> = this.ctor as unknown as Input<F, B, A>,
    argv: string[] = this.argv,
  ): Promise<ParserOutput<F, B, A>> {
    const {flags, baseFlags, strict, args = {}} = options as Input<Values, Values, Values>;
    // oclif would fill a missing argument from a pipe; only `-` may do that (cli.md §2.6).
    const ownArgs = Object.fromEntries(
      Object.entries(args).map(([name, arg]) => [name, {...arg, ignoreStdin: true}]),
    );
    const input = {...options, flags, baseFlags, strict, args: ownArgs};
    const parsed = await super.parse(input as unknown as Input<F, B, A>, argv);
    await this.applyFlags(parsed.flags);
    return parsed;
  }

  /** Puts the shared flags into effect, once they are known. */
  protected async applyFlags(flags: Values): Promise<void> {
    this.#flags = flags;
    this.printer.configure(outputOptions(this.terminal, flags));
    if (typeof flags.timeout === 'number') this.#interruption.startDeadline(flags.timeout);
  }

  protected override async _run<T>(): Promise<T> {
    let failure: unknown = null;
    try {
      await this.init();
      const result: unknown = await this.#interruption.race(this.run() as Promise<unknown>);
      this.printer.endStream();
      this.#throwIfInterrupted();
      if (this.printer.mode === 'json') this.printer.document(this.toSuccessJson(result));
      return result as T;
    } catch (error) {
      failure = error;
      return await this.catch(error);
    } finally {
      for (const error of await this.#interruption.cleanUp())
        this.printer.detail(`clean-up failed: ${String(error)}`);
      this.#interruption.dispose();
      await this.finally(failure instanceof Error ? failure : undefined);
    }
  }

  protected override toSuccessJson(result: unknown): unknown {
    const {schemaVersion} = this.constructor as typeof LocalCommand;
    return {
      ok: true,
      schema: `by.${(this.id ?? '').replaceAll(':', '.')}/${schemaVersion}`,
      data: toSnakeCase(result) ?? {},
      warnings: this.printer.warnings,
    };
  }

  /** Prints the error. What it throws then only carries the exit code to bin/by.js. */
  protected override async catch(error: unknown): Promise<never> {
    if (error instanceof Errors.ExitError) throw error;
    if (error instanceof PromptAborted) throw new Errors.ExitError(this.#interruption.exitCode('SIGINT'));
    const {cause} = this.#interruption;
    if (cause === 'TIMEOUT' && !(error instanceof ByError)) throw this.#report(deadlinePassed(error));
    // Whatever surfaces after a signal is its consequence, unless the command meant to go on after it.
    if (cause !== null && cause !== 'TIMEOUT' && !this.endsBySignal)
      throw this.#reportInterrupted(cause, error);
    if (error instanceof Interrupted) throw this.#reportInterrupted(error.reason, error);
    throw this.#report(
      toByError(error, {
        command: this.#typedId,
        flagNames: Object.keys({...this.ctor.flags, ...this.ctor.baseFlags}),
      }),
    );
  }

  get #typedId(): string {
    return (this.id ?? '').replaceAll(':', ' ');
  }

  #throwIfInterrupted(): void {
    const {cause} = this.#interruption;
    if (cause === null || (this.endsBySignal && cause !== 'TIMEOUT')) return;
    throw new Interrupted(cause, this.#interruption.exitCode(cause));
  }

  #report(error: ByError): Errors.ExitError {
    printFailure(this.printer, describe(error), error.code === 'INTERNAL' ? error.cause : error);
    return new Errors.ExitError(error.exitCode);
  }

  #reportInterrupted(cause: Cause, error: unknown): Errors.ExitError {
    const exit = this.#interruption.exitCode(cause);
    this.printer.endStream();
    // After EPIPE there is nobody to tell.
    if (cause !== 'EPIPE' && this.printer.mode === 'text') {
      if (!(error instanceof Interrupted)) this.printer.detail(messageOf(error));
      for (const command of this.resumeWith) this.printer.note('resume with  ', paint.cyan(command));
    } else if (cause !== 'EPIPE') {
      printFailure(this.printer, {
        code: 'INTERRUPTED',
        exit,
        message: `Ended by ${cause} before it was done.`,
        hint: 'Run it again.',
        next: this.resumeWith,
        details: {signal: cause},
      });
    }
    return new Errors.ExitError(exit);
  }
}

const deadlinePassed = (cause: unknown) =>
  new ByError('TIMEOUT', 'The deadline of --timeout passed.', {
    hint: 'Give it more time, or leave --timeout out.',
    cause,
  });

/** A printer on this process's output, in the form these flags ask for. */
export function printerFor(flags: Values): Printer {
  return new Printer({
    // Looked up at each write: tests put their own in place.
    stdout: {write: text => process.stdout.write(text)},
    stderr: {write: text => process.stderr.write(text)},
    ...outputOptions(terminalOf(process, process.env), flags),
  });
}

function outputOptions(terminal: Terminal, flags: Values) {
  const output = typeof flags.output === 'string' ? flags.output : '';
  const mode: OutputMode =
    flags.json === true || output === 'json' ? 'json' : output === 'jsonl' ? 'jsonl' : 'text';
  const color = flags['no-color'] === true ? 'never' : flags.color;
  return {
    mode,
    color: terminal.color(color === 'always' || color === 'never' ? color : ('auto' satisfies ColorMode)),
    isQuiet: flags.quiet === true,
    isVerbose: flags.verbose === true,
    columns: flags['no-trunc'] === true ? undefined : terminal.columns,
    ascii: terminal.ascii,
    isOutputTerminal: terminal.isOutputTerminal,
  };
}

/** The flags that decide how an error is shown, read without a parser. */
export function peek(argv: readonly string[]): Values {
  const end = argv.indexOf('--');
  const own = end === -1 ? argv : argv.slice(0, end);
  const valueOf = (...names: string[]) => {
    for (const [at, arg] of own.entries()) {
      for (const name of names) {
        if (arg === name) return own[at + 1];
        if (arg.startsWith(`${name}=`)) return arg.slice(name.length + 1);
        if (!name.startsWith('--') && arg.startsWith(name)) return arg.slice(name.length);
      }
    }
    return undefined;
  };
  return {
    json: own.includes('--json'),
    output: valueOf('--output', '-o'),
    color: valueOf('--color'),
    'no-color': own.includes('--no-color'),
    quiet: own.includes('--quiet') || own.includes('-q'),
    verbose: own.includes('--verbose') || own.includes('-v'),
  };
}
