/** A document in the person's own editor, back as text. */
import {spawn} from 'node:child_process';
import {mkdtemp, readFile, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {ByError, messageOf} from '../errors.js';

export interface EditorChoice {
  /** As in EDITOR: a program, and words for it. */
  readonly command: string | undefined;
  /** Standard output carries a document: the editor writes to standard error. */
  readonly isOutputTaken: boolean;
}

/** @throws {ByError} INPUT_NEEDED without an editor, USAGE for one that does not start, CONFLICT if it ends with an error. */
export async function editInEditor(text: string, {command, isOutputTaken}: EditorChoice): Promise<string> {
  const [program, ...words] = (command ?? '').split(/\s+/).filter(word => word !== '');
  if (program === undefined) {
    throw new ByError('INPUT_NEEDED', 'There is no editor to open here.', {
      hint: 'Name one in BY_EDITOR (in a terminal, EDITOR will do), or change single places with --set path=value.',
    });
  }
  // A folder of its own, which nobody else may enter: commands may hold secrets.
  const folder = await mkdtemp(join(tmpdir(), 'by-edit-'));
  try {
    const file = join(folder, 'command.json');
    await writeFile(file, text, {mode: 0o600});
    const child = spawn(program, [...words, file], {
      stdio: ['inherit', isOutputTaken ? 2 : 'inherit', 'inherit'],
    });
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    }).catch((cause: unknown) => {
      throw new ByError('USAGE', `The editor "${program}" does not start: ${messageOf(cause)}.`, {
        hint: 'Set EDITOR (or BY_EDITOR) to a program that is there.',
        cause,
      });
    });
    if (code === 0) return await readFile(file, 'utf8');
    throw new ByError('CONFLICT', `The editor ended with ${code ?? 'a signal'}.`, {
      hint: 'Nothing was changed.',
    });
  } finally {
    await rm(folder, {recursive: true, force: true});
  }
}
