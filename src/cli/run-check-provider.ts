/** `by provider check FILE`. */
import {checkProvider, type ProviderCheck} from '../availability/check-provider.js';
import {loadProvider} from '../availability/load-provider.js';
import {secretsFromEnv} from '../config/load.js';
import {ByError, messageOf} from '../errors.js';
import {isValidId} from '../ids.js';
import {levelSign} from './level-sign.js';
import {paint, type Printer} from './printer.js';
import {redact, rememberSecret} from '../redact.js';

export interface RunCheckProvider {
  readonly printer: Printer;
  readonly file: string;
  readonly agentType: string | undefined;
  readonly timeoutMs: number;
  /** Warnings count too. */
  readonly strict: boolean;
}

/** @throws {ByError} FINDINGS, PROVIDER_LOAD_FAILED, INVALID_INPUT. */
export async function runCheckProvider(
  run: RunCheckProvider,
): Promise<{file: string; provider: string; checks: readonly ProviderCheck[]}> {
  const {printer, file, agentType, timeoutMs} = run;
  if (agentType !== undefined && !isValidId(agentType)) {
    throw new ByError('INVALID_INPUT', `"${agentType}" can not be an agent type.`, {
      hint: 'Letters, digits and . _ : @ - only.',
    });
  }
  const secrets = secretsFromEnv();
  secrets.forEach(rememberSecret);
  const watched = watch();
  let provider = '';
  let checks: ProviderCheck[];
  try {
    const loaded = await loadProvider(file);
    provider = loaded.name;
    checks = await checkProvider(loaded, {
      timeoutMs,
      ...(agentType === undefined ? {} : {agentType}),
      printed: watched.printed,
      strayErrors: watched.strayErrors,
      secrets,
    });
    // A reason the provider gave may hold what it should not have said.
    checks = checks.map(check => ({...check, text: redact(check.text)}));
  } finally {
    watched.end();
  }
  for (const check of checks) {
    printer.out(levelSign(printer, check.level), ' ', check.name.padEnd(14), ' ', check.text);
    if (check.fix !== undefined) printer.out(' '.repeat(17), paint.dim(check.fix));
  }
  const findings = checks.filter(({level}) => level === 'problem' || (run.strict && level === 'warning'));
  if (findings.length > 0) {
    throw new ByError(
      'FINDINGS',
      `Provider "${provider}" of ${file}: ${findings.length} of ${checks.length} checks found something.`,
      {hint: 'Each line above names what to do.', details: {file, provider, checks}},
    );
  }
  return {file, provider, checks};
}

interface Watched {
  readonly printed: () => string;
  readonly strayErrors: () => readonly string[];
  end(): void;
}

/** Characters of what a provider prints that are looked at. */
const MAX_PRINTED = 1_048_576;

/** Takes what is printed, and errors nobody catches, until it ends: the report is ours alone. */
function watch(): Watched {
  let printed = '';
  const stray: string[] = [];
  const streams = [process.stdout, process.stderr];
  const writes = streams.map(stream => stream.write.bind(stream));
  for (const stream of streams) {
    stream.write = (chunk: string | Uint8Array, ...rest: unknown[]) => {
      if (printed.length < MAX_PRINTED)
        printed += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
      const done = rest.find(one => typeof one === 'function') as (() => void) | undefined;
      if (done) queueMicrotask(done);
      return true;
    };
  }
  const onStray = (error: unknown) => void stray.push(messageOf(error));
  process.on('unhandledRejection', onStray);
  process.on('uncaughtException', onStray);
  return {
    printed: () => printed,
    strayErrors: () => stray,
    end() {
      process.removeListener('unhandledRejection', onStray);
      process.removeListener('uncaughtException', onStray);
      streams.forEach((stream, index) => {
        const write = writes[index];
        if (write) stream.write = write;
      });
    },
  };
}
