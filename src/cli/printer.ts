/**
 * The one printer: every line `by` writes to a terminal goes through here, so that nothing untrusted can drive it.
 * What it writes follows from the mode: in `json` and `jsonl` the human lines are silent, and only documents appear
 * on standard output; notices, progress and human errors always go to standard error.
 */
import {safeJson, safeText, SafeStream} from './safe-text.js';
import {toSnakeCase} from './json.js';
import {redact} from '../redact.js';
import {tableLines, type Column, type TableOptions} from './table.js';
import {paint, render, type Text} from './text.js';

export {safeText} from './safe-text.js';
export {paint, type Text} from './text.js';
export type {Column} from './table.js';

export type OutputMode = 'text' | 'json' | 'jsonl';

export interface Sink {
  write(text: string): unknown;
}

export interface PrinterOptions {
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly mode: OutputMode;
  readonly color: {readonly stdout: boolean; readonly stderr: boolean};
  readonly isQuiet: boolean;
  readonly isVerbose: boolean;
  /** Columns tables are cut to; undefined cuts nothing. */
  readonly columns: number | undefined;
  readonly ascii: boolean;
  /** Then JSON documents are spread over lines, and nothing is written unescaped. */
  readonly isOutputTerminal: boolean;
}

export class Printer {
  #options: PrinterOptions;
  readonly #warnings: string[] = [];
  #stream: SafeStream | null = null;
  #streamEndsLine = true;
  #noteIsOpen = false;

  constructor(options: PrinterOptions) {
    this.#options = options;
  }

  /** Takes what the flags say once they are parsed. */
  configure(changes: Partial<PrinterOptions>): void {
    this.#options = {...this.#options, ...changes};
  }

  get mode(): OutputMode {
    return this.#options.mode;
  }

  get isVerbose(): boolean {
    return this.#options.isVerbose;
  }

  /** Whether text on standard output is coloured. */
  get hasColor(): boolean {
    return this.#options.color.stdout;
  }

  /** Columns of the terminal; undefined when output is not one, or --no-trunc. */
  get columns(): number | undefined {
    return this.#options.columns;
  }

  /** Warnings so far, for the JSON envelope. */
  get warnings(): readonly string[] {
    return this.#warnings;
  }

  /** The sign if the terminal has it, its ASCII stand-in otherwise. */
  symbol(name: keyof typeof SYMBOLS): string {
    return SYMBOLS[name][this.#options.ascii ? 1 : 0];
  }

  /** One line for people on standard output; silent in the JSON modes. */
  out(...line: Text[]): void {
    if (this.#options.mode === 'text') this.#writeOut(`${render(line, this.#options.color.stdout)}\n`);
  }

  /** Several lines of untrusted text for people: line feeds and tabs stay, everything else is escaped. */
  block(text: string): void {
    if (this.#options.mode !== 'text') return;
    const safe = safeText(text, {lines: true});
    this.#writeOut(safe.endsWith('\n') ? safe : `${safe}\n`);
  }

  /** A table for people; nothing at all for no rows. */
  table<Row>(rows: readonly Row[], columns: readonly Column<Row>[], options: TableOptions = {}): void {
    if (rows.length === 0) return;
    const width = 'width' in options ? options.width : this.#options.columns;
    for (const line of tableLines(rows, columns, {...options, width})) this.out(line);
  }

  /** One line of a JSON Lines stream; only in `jsonl` mode. Keys in snake_case. */
  event(event: object): void {
    if (this.#options.mode === 'jsonl') this.#writeOut(`${safeJson(toSnakeCase(event))}\n`);
  }

  /** A piece of an answer as it arrives, for people: line feeds and tabs stay. Ended by {@link endStream}. */
  stream(piece: string): void {
    if (this.#options.mode !== 'text') return;
    this.#stream ??= new SafeStream();
    this.#writePiece(this.#stream.push(piece));
  }

  /** Text as it came, byte for byte, for `-o raw` into a pipe or a file. To a terminal: as {@link stream} writes it. */
  raw(piece: string): void {
    if (this.#options.isOutputTerminal) this.stream(piece);
    else if (this.#options.mode === 'text') {
      this.#closeNote();
      this.#options.stdout.write(piece);
    }
  }

  /** Ends what {@link stream} wrote, on a line of its own. Without a stream: nothing happens. */
  endStream(): void {
    if (this.#stream === null) return;
    this.#writePiece(this.#stream.end());
    this.#stream = null;
    if (!this.#streamEndsLine) this.#options.stdout.write('\n');
    this.#streamEndsLine = true;
  }

  /** One line on standard error, unless --quiet: progress, hints, what will happen next. */
  note(...line: Text[]): void {
    if (!this.#options.isQuiet) this.err(...line);
  }

  /** As {@link note}, for a line that grows as things happen: the next call goes on with it, whatever else is written ends it. */
  growingNote(...words: Text[]): void {
    if (this.#options.isQuiet) return;
    if (!this.#noteIsOpen) this.#closeStreamLine();
    this.#options.stderr.write(render(words, this.#options.color.stderr));
    this.#noteIsOpen = true;
  }

  /** One line on standard error with --verbose. */
  detail(...line: Text[]): void {
    if (this.#options.isVerbose) this.err(paint.dim(line));
  }

  /** One line on standard error, whatever the flags. */
  err(...line: Text[]): void {
    this.#closeNote();
    this.#closeStreamLine();
    this.#options.stderr.write(`${render(line, this.#options.color.stderr)}\n`);
  }

  /** Kept for the JSON envelope, or shown on standard error. Secrets in it are hidden. */
  warn(message: string): void {
    const clean = redact(message);
    this.#warnings.push(clean);
    if (this.#options.mode === 'text') this.note(paint.yellow(this.symbol('warning')), ' ', clean);
  }

  /** Begin again at the top of the screen, for what is shown again and again; into a pipe an empty line. */
  fresh(): void {
    if (this.#options.mode === 'text') this.#writeOut(this.#options.isOutputTerminal ? CLEAR : '\n');
  }

  /** A whole JSON document on standard output, whatever the mode; dangerous characters spelt out. */
  document(value: unknown): void {
    const indent = this.#options.isOutputTerminal && this.#options.mode !== 'jsonl' ? 2 : undefined;
    this.#writeOut(`${safeJson(value, indent)}\n`);
  }

  #writeOut(text: string): void {
    this.#closeNote();
    this.#closeStreamLine();
    this.#options.stdout.write(text);
  }

  #writePiece(safe: string): void {
    if (safe === '') return;
    this.#closeNote();
    this.#streamEndsLine = safe.endsWith('\n');
    this.#options.stdout.write(safe);
  }

  #closeNote(): void {
    if (!this.#noteIsOpen) return;
    this.#noteIsOpen = false;
    this.#options.stderr.write('\n');
  }

  /** A line that comes while an answer is streaming starts on a line of its own. */
  #closeStreamLine(): void {
    if (this.#stream === null || this.#streamEndsLine) return;
    this.#options.stdout.write('\n');
    this.#streamEndsLine = true;
  }
}

/** Erases the screen and goes to its top left corner. */
const CLEAR = '\u001B[2J\u001B[H';

const SYMBOLS = {
  error: ['✗', 'x'],
  ok: ['✓', 'ok'],
  warning: ['!', '!'],
  arrow: ['→', '->'],
  dot: ['●', '*'],
  separator: ['·', '-'],
} as const satisfies Record<string, readonly [string, string]>;
