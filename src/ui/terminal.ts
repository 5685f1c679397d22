/**
 * The gate in front of Ink. Only `terminal.canShowScreen` (src/cli/tty.ts) decides whether a screen is shown; Ink is
 * not asked, because it hides every frame when the variable CI merely exists, even empty (design: cli.md §3.1).
 */

/**
 * Runs `load`, which imports Ink, React and every module that imports those, the one time they are needed. All of
 * them must be loaded in here: a part that loads later would be React's development build beside its production
 * build, and the two do not work together.
 */
export async function loadScreen<T>(load: () => Promise<T>): Promise<T> {
  const {CI, NODE_ENV} = process.env;
  // Both are read while the modules load. Put back after that: child processes inherit the environment.
  process.env.CI = 'false';
  process.env.NODE_ENV ??= 'production';
  try {
    return await load();
  } finally {
    restore('CI', CI);
    restore('NODE_ENV', NODE_ENV);
  }
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) Reflect.deleteProperty(process.env, name);
  else process.env[name] = value;
}

export interface ScreenStreams {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}

/** How Ink is to be run: keys and signals are ours, the console is left alone, whole frames are drawn. */
export const renderOptions = ({stdin, stdout, stderr}: ScreenStreams) => ({
  stdin,
  stdout,
  stderr,
  exitOnCtrlC: false,
  patchConsole: false,
  // On in 6.8 it leaves stale rows behind (cli.md §0.5).
  incrementalRendering: false,
  isScreenReaderEnabled: false,
});
