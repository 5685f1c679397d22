/** What this process may do with its terminal: the one place that asks the environment about it. */

export interface Streams {
  readonly stdin: {readonly isTTY?: boolean | undefined};
  readonly stdout: {readonly isTTY?: boolean | undefined; readonly columns?: number | undefined};
  readonly stderr: {readonly isTTY?: boolean | undefined};
}

export type Environment = Readonly<Record<string, string | undefined>>;

export type ColorMode = 'auto' | 'always' | 'never';

export interface Terminal {
  /** A person can be asked: input and output are terminals, and nothing forbids it. */
  readonly canPrompt: boolean;
  /** A screen (Ink) can be shown: as above, and the terminal understands cursor codes. */
  readonly canShowScreen: boolean;
  /** Standard output is a terminal, or BY_FORCE_TTY says to write as if it were. */
  readonly isOutputTerminal: boolean;
  /** The same of standard error. */
  readonly isErrorTerminal: boolean;
  /** Columns to lay output out for; undefined where nothing is to be cut. */
  readonly columns: number | undefined;
  /** Only ASCII decoration: BY_ASCII. */
  readonly ascii: boolean;
  /** The program text is edited with, and words for it: VISUAL and EDITOR may want a terminal, BY_EDITOR need not. */
  readonly editor: {readonly forPeople: string | undefined; readonly anywhere: string | undefined};
  color(mode: ColorMode): {readonly stdout: boolean; readonly stderr: boolean};
}

const isSet = (value: string | undefined) => value !== undefined && value !== '';
const isOn = (value: string | undefined) => isSet(value) && value !== '0' && value !== 'false';

export function terminalOf({stdin, stdout, stderr}: Streams, env: Environment): Terminal {
  const forced = isOn(env.BY_FORCE_TTY);
  const isDumb = env.TERM === 'dumb';
  const isOutputTerminal = stdout.isTTY === true || forced;
  const canPrompt = stdin.isTTY === true && stdout.isTTY === true && !isOn(env.CI) && !isOn(env.BY_NO_INPUT);
  const automatic = (isTerminal: boolean) => {
    if (isSet(env.NO_COLOR)) return false;
    if (isSet(env.FORCE_COLOR)) return isOn(env.FORCE_COLOR);
    return isTerminal && !isDumb;
  };
  return {
    canPrompt,
    canShowScreen: canPrompt && !isDumb && !isOn(env.BY_NO_UI) && !isOn(env.INK_SCREEN_READER),
    isOutputTerminal,
    isErrorTerminal: stderr.isTTY === true || forced,
    // A terminal that reports no width (a serial line, some containers) says 0 or nothing.
    columns: isOutputTerminal ? stdout.columns || Number(env.COLUMNS) || 80 : undefined,
    ascii: isOn(env.BY_ASCII),
    editor: {forPeople: [env.VISUAL, env.EDITOR].find(isSet), anywhere: env.BY_EDITOR || undefined},
    color: mode => ({
      stdout: mode === 'auto' ? automatic(isOutputTerminal) : mode === 'always',
      stderr: mode === 'auto' ? automatic(stderr.isTTY === true || forced) : mode === 'always',
    }),
  };
}
