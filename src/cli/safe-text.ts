/**
 * Text that others wrote (model output, ids, anything out of Redis) may carry codes that drive a terminal, reverse
 * its text or hide in it. Here they become visible: `ESC` is shown as `\u{1b}`. Every line the program writes to a
 * terminal comes through this file (guarantees.md §2, "terminal").
 */

/** C0, DEL and C1, lone surrogates, line separators, bidi controls, and everything that shows nothing at all. */
const DANGEROUS =
  /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}\ufff9-\ufffb\u{1bca0}-\u{1bca3}]/gu;

const PLAIN = /^[\x20-\x7e]*$/;

const ZERO_WIDTH_NON_JOINER = '\u200c';
const ZERO_WIDTH_JOINER = '\u200d';

/** Scripts that can not be written without joiners: Unicode UAX #31 §2.3 allows the joiners between their letters. */
const JOINING_LETTER =
  /^[\p{scx=Arabic}\p{scx=Syriac}\p{scx=Devanagari}\p{scx=Bengali}\p{scx=Gurmukhi}\p{scx=Gujarati}\p{scx=Oriya}\p{scx=Tamil}\p{scx=Telugu}\p{scx=Kannada}\p{scx=Malayalam}\p{scx=Sinhala}]$/u;
const EMOJI_BEFORE = /\p{Extended_Pictographic}[\ufe0f\u{1f3fb}-\u{1f3ff}]?$/u;
const EMOJI_AFTER = /^\p{Extended_Pictographic}/u;
const EMOJI_BASE_BEFORE = /[\p{Emoji}\u{1f3fb}-\u{1f3ff}]$/u;

/** How much text around a joiner decides whether it belongs there: two code points of two units each. */
const CONTEXT = 4;

/** At the end of a piece: half a character, a line end that may become a Windows one, a joiner without its right side. */
const UNDECIDED = /(?:[\u200c\u200d]?[\ud800-\udbff]|[\r\u200c\u200d])$/;

export interface SafeTextOptions {
  /** Keep line feeds and tabs: for blocks of text. A carriage return in front of a line feed is dropped. */
  readonly lines?: boolean;
}

/** @returns The text with everything dangerous in it made visible; one line, unless `lines` is asked for. */
export function safeText(untrusted: string, {lines = false}: SafeTextOptions = {}): string {
  return PLAIN.test(untrusted) ? untrusted : escapeFrom(untrusted, 0, lines);
}

function escapeFrom(text: string, start: number, lines: boolean): string {
  let safe = '';
  let done = start;
  DANGEROUS.lastIndex = start;
  for (let match = DANGEROUS.exec(text); match; match = DANGEROUS.exec(text)) {
    safe += text.slice(done, match.index) + shown(match[0], text, match.index, lines);
    done = match.index + match[0].length;
  }
  return safe + text.slice(done);
}

function shown(char: string, text: string, at: number, lines: boolean): string {
  switch (char) {
    case '\n':
      return lines ? char : '\\n';
    case '\t':
      return lines ? char : '\\t';
    case '\r':
      return lines && text[at + 1] === '\n' ? '' : '\\r';
    case ZERO_WIDTH_NON_JOINER:
    case ZERO_WIDTH_JOINER:
      return joins(char, text, at) ? char : visible(char);
    case '\ufe0e':
    case '\ufe0f':
      return EMOJI_BASE_BEFORE.test(before(text, at)) ? char : visible(char);
    default:
      return visible(char);
  }
}

const before = (text: string, at: number) => text.slice(Math.max(0, at - CONTEXT), at);

function joins(joiner: string, text: string, at: number): boolean {
  const left = before(text, at);
  const right = text.slice(at + 1, at + 1 + CONTEXT);
  if (joiner === ZERO_WIDTH_JOINER && EMOJI_BEFORE.test(left) && EMOJI_AFTER.test(right)) return true;
  return JOINING_LETTER.test(left.slice(-1)) && JOINING_LETTER.test(right.slice(0, 1));
}

function visible(char: string): string {
  return `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`;
}

/**
 * The same for text that arrives in pieces: line feeds and tabs stay, and a character cut in two by the end of a
 * piece waits for its other half.
 */
export class SafeStream {
  #context = '';
  #held = '';

  /** @returns What of this and earlier pieces may be written now. */
  push(piece: string): string {
    const pending = this.#held + piece;
    const cut = pending.length - (UNDECIDED.exec(pending)?.[0].length ?? 0);
    this.#held = pending.slice(cut);
    return this.#release(pending.slice(0, cut));
  }

  /** @returns What was still held back. */
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return this.#release(rest);
  }

  #release(text: string): string {
    const whole = this.#context + text;
    const safe = escapeFrom(whole, this.#context.length, true);
    this.#context = whole.slice(-CONTEXT);
    return safe;
  }
}

/** The same for JSON: dangerous characters stay in the data, spelt `\uXXXX`, so that parsing gives them back. */
export function safeJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, null, indent);
  // An indented document has line feeds of its own; those inside strings are already spelt out by JSON.stringify.
  return text.replace(DANGEROUS, char =>
    char === '\n'
      ? char
      : Array.from({length: char.length}, (_, unit) => `\\u${hex4(char.charCodeAt(unit))}`).join(''),
  );
}

const hex4 = (unit: number) => unit.toString(16).padStart(4, '0');
