import {describe, expect, test} from 'vitest';
import {paint, Printer, type PrinterOptions} from '../../src/cli/printer.js';
import {terminalOf, type Environment} from '../../src/cli/tty.js';

function open(options: Partial<PrinterOptions> = {}) {
  const written = {stdout: '', stderr: ''};
  const sink = (name: keyof typeof written) => ({
    write: (text: string) => {
      written[name] += text;
    },
  });
  const printer = new Printer({
    stdout: sink('stdout'),
    stderr: sink('stderr'),
    mode: 'text',
    color: {stdout: false, stderr: false},
    isQuiet: false,
    isVerbose: false,
    columns: undefined,
    ascii: false,
    isOutputTerminal: false,
    ...options,
  });
  return {printer, written};
}

describe('the printer', () => {
  test('lets a line grow until anything else is written', () => {
    const {printer, written} = open();
    printer.growingNote('asked');
    printer.growingNote(' -> \u001b[2Jstarting');
    printer.note('next');
    printer.growingNote('again');
    printer.stream('Bon');
    printer.growingNote('meanwhile');
    printer.endStream();
    printer.err('end');
    expect(written).toEqual({
      stdout: 'Bon\n',
      stderr: 'asked -> \\u{1b}[2Jstarting\nnext\nagain\nmeanwhile\nend\n',
    });
    const quiet = open({isQuiet: true});
    quiet.printer.growingNote('asked');
    expect(quiet.written.stderr).toBe('');
  });

  test('writes an answer as it arrives, and puts other lines on lines of their own', () => {
    const {printer, written} = open();
    printer.stream('Bon');
    printer.stream('jour\n\tMon');
    printer.out('in between');
    printer.stream('de\u001b');
    printer.endStream();
    printer.endStream();
    expect(written.stdout).toBe('Bonjour\n\tMon\nin between\nde\\u{1b}\n');
  });

  test('writes raw text unchanged into a pipe, and never to a terminal', () => {
    const hostile = '\u001b]52;c;eA==\u0007';
    const pipe = open();
    pipe.printer.raw(hostile);
    expect(pipe.written.stdout).toBe(hostile);
    const terminal = open({isOutputTerminal: true});
    terminal.printer.raw(hostile);
    expect(terminal.written.stdout).toBe('\\u{1b}]52;c;eA==\\u{7}');
  });

  test('keeps the lines of a block and escapes everything else', () => {
    const {printer, written} = open();
    printer.block('a\n\tb\u009b2J');
    expect(written.stdout).toBe('a\n\tb\\u{9b}2J\n');
  });

  test('is silent for people in the JSON modes, except on standard error', () => {
    const {printer, written} = open({mode: 'jsonl'});
    printer.out('people');
    printer.stream('people');
    printer.block('people');
    printer.table([{}], [{header: 'A', value: () => 'people'}]);
    printer.event({type: 'end', streamId: '1-0'});
    printer.note('progress');
    printer.warn('careful');
    expect(written).toEqual({stdout: '{"type":"end","stream_id":"1-0"}\n', stderr: 'progress\n'});
    expect(printer.warnings).toEqual(['careful']);
  });

  test('has ASCII signs where Unicode is not wanted, and details only on request', () => {
    const {printer, written} = open({ascii: true, isVerbose: true, isQuiet: true});
    printer.out(printer.symbol('ok'), ' ', paint.green('done'));
    printer.note('hidden by --quiet');
    printer.detail('shown by --verbose');
    expect(written).toEqual({stdout: 'ok done\n', stderr: 'shown by --verbose\n'});
  });

  test('spreads JSON over lines only in a terminal', () => {
    const terminal = open({mode: 'json', isOutputTerminal: true});
    terminal.printer.document({a: 1});
    expect(terminal.written.stdout).toBe('{\n  "a": 1\n}\n');
  });
});

describe('what a terminal may be used for', () => {
  const tty = {isTTY: true, columns: 100};
  const pipe = {};
  const all = {stdin: tty, stdout: tty, stderr: tty};
  const ask = (env: Environment, streams = all) => terminalOf(streams, env);

  test('a person can be asked only with a terminal on both ends, outside CI, and unless forbidden', () => {
    expect(ask({}).canPrompt).toBe(true);
    expect(ask({CI: ''}).canPrompt).toBe(true);
    expect(ask({CI: 'true'}).canPrompt).toBe(false);
    expect(ask({BY_NO_INPUT: '1'}).canPrompt).toBe(false);
    expect(ask({}, {...all, stdin: pipe as typeof tty}).canPrompt).toBe(false);
    expect(ask({BY_FORCE_TTY: '1'}, {...all, stdout: pipe as typeof tty}).canPrompt).toBe(false);
  });

  test('a screen needs a terminal that knows cursor codes and a person who sees it', () => {
    expect(ask({}).canShowScreen).toBe(true);
    for (const env of [{TERM: 'dumb'}, {BY_NO_UI: '1'}, {INK_SCREEN_READER: 'true'}]) {
      expect(ask(env).canShowScreen).toBe(false);
    }
  });

  test('colour follows the flag, then NO_COLOR, then FORCE_COLOR, then the terminal', () => {
    const color = (env: Environment, mode: 'auto' | 'always' | 'never' = 'auto', streams = all) =>
      ask(env, streams).color(mode).stdout;
    expect(color({})).toBe(true);
    expect(color({TERM: 'dumb'})).toBe(false);
    expect(color({NO_COLOR: '1'})).toBe(false);
    expect(color({NO_COLOR: '1', FORCE_COLOR: '1'})).toBe(false);
    expect(color({NO_COLOR: '1'}, 'always')).toBe(true);
    expect(color({FORCE_COLOR: '1'}, 'auto', {...all, stdout: pipe as typeof tty})).toBe(true);
    expect(color({FORCE_COLOR: '0'})).toBe(false);
    expect(color({}, 'never')).toBe(false);
  });

  test('tables are cut to a terminal and to nothing else', () => {
    expect(ask({}).columns).toBe(100);
    expect(ask({}, {...all, stdout: pipe as typeof tty}).columns).toBeUndefined();
    expect(ask({}, {...all, stdout: {isTTY: true, columns: 0}}).columns).toBe(80);
  });
});
