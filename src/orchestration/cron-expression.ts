/**
 * What a schedule's cron expression may be: five fields, `* , - /`, names, 0–7 for weekdays. Cron libraries accept more, and
 * disagree about it, so everything else is refused here, with the nearest expression that is meant.
 */
import {ByError} from '../errors.js';
import {suggest} from '../nearest.js';

const MAX_LENGTH = 200;

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly names: readonly string[];
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

const FIELDS: readonly Field[] = [
  {name: 'minute', min: 0, max: 59, names: []},
  {name: 'hour', min: 0, max: 23, names: []},
  {name: 'day', min: 1, max: 31, names: []},
  {name: 'month', min: 1, max: 12, names: MONTHS},
  {name: 'weekday', min: 0, max: 7, names: DAYS},
];

const NICKNAMES: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};

export interface CronExpression {
  /** As it was given, with single spaces. */
  readonly text: string;
  /** For a job at one time of day: that time. Null for intervals: any field with `*`, `/` or several values. */
  readonly fixedTime: {readonly hour: number; readonly minute: number} | null;
}

/** @throws {ByError} CRON_INVALID, with what is wrong and what may be meant. */
export function parseCron(given: string): CronExpression {
  const text = given.trim().replace(/\s+/g, ' ');
  if (text === '') throw invalid('The cron expression is empty.', example);
  if (text.length > MAX_LENGTH)
    throw invalid(`The cron expression is longer than ${MAX_LENGTH} characters.`, example);
  if (text.startsWith('@')) throw nickname(text);
  const parts = text.split(' ');
  if (parts.length !== FIELDS.length) throw wrongCount(parts);
  const values = FIELDS.map((field, at) => valuesOf(field, parts[at] ?? '', at, parts));
  return {text, fixedTime: fixedTime(parts, values)};
}

function fixedTime(parts: readonly string[], values: readonly (readonly number[])[]) {
  const isOpen = (part = '') => /[*/]/.test(part);
  const [minutes = [], hours = []] = values.map(list => [...new Set(list)]);
  const [minute] = minutes;
  const [hour] = hours;
  if (minute === undefined || hour === undefined) return null;
  if (isOpen(parts[0]) || isOpen(parts[1]) || minutes.length > 1 || hours.length > 1) return null;
  return {hour, minute};
}

const example = 'Write five fields, for example "0 9 * * mon-fri".';

const invalid = (message: string, hint: string) => new ByError('CRON_INVALID', message, {hint});

const meant = (expression: string) => `Did you mean "${expression}"?`;

function nickname(text: string): ByError {
  const expression = NICKNAMES[text.toLowerCase()];
  return invalid(
    `"${text}" is a nickname; a schedule has 5 fields (minute hour day month weekday).`,
    expression === undefined ? example : meant(expression),
  );
}

function wrongCount(parts: readonly string[]): ByError {
  const count = parts.length;
  const message = `${count} ${count === 1 ? 'field' : 'fields'}; a schedule has 5 (minute hour day month weekday).`;
  return invalid(message, countHint(parts));
}

function countHint(parts: readonly string[]): string {
  // Seconds come first where there are six, and the year last where there are seven.
  if (parts.length === 6 || parts.length === 7) {
    const five = parts.slice(1, 6).map(part => (part === '?' ? '*' : part));
    const isWhole = parts[0] === '0' || parts[0] === '00';
    if (isReadable(five))
      return isWhole ? meant(five.join(' ')) : `${meant(five.join(' '))} There are no seconds.`;
  }
  if (parts.length === 4 && isReadable([...parts, '*'])) return meant([...parts, '*'].join(' '));
  return example;
}

function isReadable(parts: readonly string[]): boolean {
  try {
    FIELDS.forEach((field, at) => valuesOf(field, parts[at] ?? '', at, parts));
    return true;
  } catch {
    // The answer is the exception.
    return false;
  }
}

/** All values a field stands for, in the order they are written. */
function valuesOf(field: Field, part: string, at: number, parts: readonly string[]): number[] {
  const wrong = (message: string, better?: string) =>
    invalid(
      message,
      better === undefined
        ? rangeHint(field)
        : meant(parts.map((own, i) => (i === at ? better : own)).join(' ')),
    );
  if (/^[?]$/.test(part)) throw wrong(`"?" in the ${field.name} is not cron's; any value is "*".`, '*');
  return part.split(',').flatMap(item => {
    const swap = (text: string) =>
      part
        .split(',')
        .map(own => (own === item ? text : own))
        .join(',');
    return itemValues(field, item, (message, better) =>
      wrong(message, better === undefined ? undefined : swap(better)),
    );
  });
}

type Wrong = (message: string, better?: string) => ByError;

function itemValues(field: Field, item: string, wrong: Wrong): number[] {
  const {name, min, max} = field;
  if (item === '') throw wrong(`A value is missing in the ${name}.`);
  if (/^[\d*/-]*[LWH#?]|^(l|w|h)\b|#/i.test(item) && !isName(field, item))
    throw wrong(`"${item}" in the ${name}: L, W, H, # and ? are not supported.`);
  const [, base = '', step] = /^([^/]*)(?:\/(.*))?$/s.exec(item) ?? [];
  const by = step === undefined ? 1 : stepOf(field, item, step, wrong);
  if (base === '*') return range(min, name === 'weekday' ? 6 : max, by);
  const [first = '', last, ...more] = base.split('-');
  if (more.length > 0) throw wrong(`"${item}" in the ${name} is not a range.`);
  const from = valueOf(field, first, wrong);
  if (last === undefined) {
    if (step !== undefined)
      throw wrong(`"${item}" in the ${name} has a step and no end.`, `${first}-${max}/${step}`);
    return [from];
  }
  // A week may end with Sunday.
  const to = name === 'weekday' && last.toLowerCase() === 'sun' ? 7 : valueOf(field, last, wrong);
  if (from > to) throw wrong(`"${item}" in the ${name} runs backwards.`, turned(field, first, last, step));
  return range(from, to, by);
}

function turned(
  {name, min, max}: Field,
  first: string,
  last: string,
  step: string | undefined,
): string | undefined {
  if (step !== undefined) return undefined;
  if (name === 'weekday' && last === '0') return `${first}-7`;
  return `${first}-${name === 'weekday' ? 6 : max},${min}-${last}`;
}

function stepOf({name, min, max}: Field, item: string, step: string, wrong: Wrong): number {
  const by = /^\d{1,3}$/.test(step) ? Number(step) : NaN;
  if (by >= 1 && by <= max - min + 1) return by;
  throw wrong(`The step of "${item}" in the ${name} is not a number from 1 to ${max - min + 1}.`);
}

function valueOf(field: Field, text: string, wrong: Wrong): number {
  const {name, min, max, names} = field;
  if (/^\d{1,3}$/.test(text)) {
    const value = Number(text);
    if (value >= min && value <= max) return value;
    throw wrong(`${text} is no ${name}: ${min} to ${max}.`);
  }
  const at = names.indexOf(text.toLowerCase());
  if (at !== -1) return at + min;
  const near = suggest(text.slice(0, 3).toLowerCase(), names);
  throw wrong(`"${text}" is no ${name}.`, near ?? undefined);
}

const isName = ({names}: Field, item: string) =>
  item.split('-').every(part => names.includes(part.replace(/\/.*$/, '').toLowerCase()));

const rangeHint = ({name, min, max, names}: Field): string =>
  `${name === 'hour' ? 'An' : 'A'} ${name} is *, a number from ${min} to ${max}${names.length === 0 ? '' : `, a name (${names[0]}, ${names[1]})`}, ` +
  'a range (a-b), a step (*/n, a-b/n), or several of them between commas.';

const range = (from: number, to: number, by: number): number[] =>
  Array.from({length: Math.floor((to - from) / by) + 1}, (_, i) => from + i * by);
