/** What every store of files does, wherever it keeps them. */
import {Readable} from 'node:stream';
import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import type {FileStore} from '../../src/files/file-store.js';
import {withQuota} from '../../src/files/quota.js';

export interface OpenFiles {
  readonly files: FileStore;
  /** Everything that is kept, what nobody should see included. */
  readonly kept: () => readonly string[];
  readonly close: () => unknown;
}

export const ESCAPE = {code: 'WORKSPACE_ESCAPE', exitCode: 13};

export function describeFileStore(name: string, open: () => Promise<OpenFiles>): void {
  describe(`a store of files (${name})`, () => {
    let opened: OpenFiles;
    let files: FileStore;
    beforeEach(async () => {
      opened = await open();
      ({files} = opened);
    });
    afterEach(() => opened.close());

    const text = async (file: string) => (await files.read(file)).toString();
    const names = async (folder?: string) => (await files.list(folder)).files.map(file => file.name);

    test('keeps what is put into it: text, bytes, streams, in folders', async () => {
      expect(await files.put('note.txt', 'hello')).toMatchObject({name: 'note.txt', size: 5});
      await files.put('./a//b/data.bin', Buffer.from([0, 255]));
      await files.put('a/stream', Readable.from(['one ', Buffer.from('two')]));
      await files.put('empty', '');
      await files.put('a/ünï +&<%20>.txt', 'odd');
      expect(await text('note.txt')).toBe('hello');
      expect([...(await files.read('a/b/data.bin'))]).toEqual([0, 255]);
      expect(await text('a/stream')).toBe('one two');
      expect(await text('empty')).toBe('');
      expect(await text('a/ünï +&<%20>.txt')).toBe('odd');
      expect(await names()).toEqual(['a/b/data.bin', 'a/stream', 'a/ünï +&<%20>.txt', 'empty', 'note.txt']);
      expect(await names('a/b')).toEqual(['a/b/data.bin']);
      const {modifiedAt, ...info} = await files.stat('a/./stream');
      expect(info).toEqual({name: 'a/stream', size: 7});
      expect(Math.abs(Date.now() - modifiedAt)).toBeLessThan(60_000);
      expect(await files.delete('a/stream')).toBe(true);
      expect(await files.delete('a/stream')).toBe(false);
      for (const act of ['read', 'get', 'stat'] as const)
        await expect(files[act]('a/stream')).rejects.toMatchObject({code: 'NOT_FOUND'});
    });

    test('gives large files piece by piece', async () => {
      const piece = Buffer.alloc(64 * 1024, 'x');
      await files.put(
        'large',
        (function* () {
          for (let index = 0; index < 320; index++) yield piece;
        })() as unknown as AsyncIterable<Buffer>,
      );
      let length = 0;
      for await (const part of await files.get('large')) length += part.length;
      expect(length).toBe(320 * piece.length);
      await expect(files.read('large')).rejects.toMatchObject({code: 'MESSAGE_TOO_LARGE'});
      (await files.get('large')).on('data', () => undefined).pause();
    });

    test('keeps the old file when a new one fails half way, or is too large, and leaves nothing else', async () => {
      await files.put('kept', 'old');
      async function* broken(size: number) {
        yield Buffer.alloc(size, 'x');
        throw new Error('lost the connection');
      }
      for (const size of [10, 20_000_000])
        await expect(files.put('kept', broken(size))).rejects.toThrow('lost the connection');
      async function* large() {
        for (;;) yield 'too much ';
      }
      await expect(files.put('kept', large(), {maxBytes: 1000})).rejects.toMatchObject({
        code: 'MESSAGE_TOO_LARGE',
      });
      await expect(files.put('new', 'four', {maxBytes: 3})).rejects.toMatchObject({
        code: 'MESSAGE_TOO_LARGE',
      });
      await files.put('just', 'four', {maxBytes: 4});
      expect(await text('kept')).toBe('old');
      expect([...opened.kept()].sort()).toEqual(['just', 'kept']);
    });

    test('shows whoever reads one whole file or the other, however fast they are replaced', async () => {
      const contents = ['a', 'b'].map(letter => letter.repeat(300_000));
      await files.put('busy', contents[0] ?? '');
      const writing = Promise.all(
        Array.from({length: 40}, (_, index) => files.put('busy', contents[index % 2] ?? '')),
      );
      for (let index = 0; index < 40; index++) expect(contents).toContain(await text('busy'));
      await writing;
      expect(opened.kept()).toEqual(['busy']);
    });

    test('is listed in pages', async () => {
      for (const file of ['c', 'a', 'b/1', 'b/2', 'd']) await files.put(file, file);
      const found: string[] = [];
      for (let after: string | undefined = ''; after !== undefined;) {
        const page = await files.list('', {limit: 2, after});
        expect(page.files.length).toBeLessThanOrEqual(2);
        found.push(...page.files.map(file => file.name));
        after = page.next;
      }
      expect(found).toEqual(['a', 'b/1', 'b/2', 'c', 'd']);
      expect(await files.list('b', {limit: 1})).toMatchObject({files: [{name: 'b/1', size: 3}], next: 'b/1'});
      await expect(files.list('', {limit: 0})).rejects.toMatchObject({code: 'INVALID_INPUT'});
      await expect(files.list('nowhere')).rejects.toMatchObject({code: 'NOT_FOUND'});
    });

    test.each([
      ['..', ESCAPE],
      ['../outside/secret', ESCAPE],
      ['a/../../outside/secret', ESCAPE],
      ['/etc/passwd', ESCAPE],
      ['a\\b', ESCAPE],
      ['', {code: 'INVALID_INPUT'}],
      ['a\0b', {code: 'INVALID_INPUT'}],
      ['a\nb', {code: 'INVALID_INPUT'}],
      ['a./b', {code: 'INVALID_INPUT'}],
      ['a ', {code: 'INVALID_INPUT'}],
      ['\ud800', {code: 'INVALID_INPUT'}],
      ['x'.repeat(256), {code: 'INVALID_INPUT'}],
      ['a/'.repeat(600), {code: 'INVALID_INPUT'}],
      ['.by-put-1', {code: 'INVALID_INPUT'}],
      [7 as unknown as string, {code: 'INVALID_INPUT'}],
    ])('refuses the name %j', async (file, error) => {
      for (const act of [
        () => files.put(file, 'x'),
        () => files.get(file),
        () => files.read(file),
        () => files.stat(file),
        () => files.delete(file),
      ])
        await expect(act()).rejects.toMatchObject(error);
      expect(opened.kept()).toEqual([]);
    });

    test('has no two names that differ only in case or in how accents are written', async () => {
      await files.put('Notes/Été.txt', 'one');
      for (const twin of ['notes/other.txt', 'Notes/été.txt', 'Notes/\u0045\u0301te\u0301.txt', 'NOTES'])
        await expect(files.put(twin, 'two'), twin).rejects.toMatchObject({code: 'CONFLICT'});
      await files.put('Notes/Été.txt', 'three');
      expect(await names()).toEqual(['Notes/Été.txt']);
      expect(await text('Notes/Été.txt')).toBe('three');
      await files.delete('Notes/Été.txt');
      await files.put('Notes/été.txt', 'now it may');
    });

    test('has no name that is both a file and a folder', async () => {
      await files.put('a/b', 'x');
      await files.put('c', 'x');
      await expect(files.put('a', 'x')).rejects.toMatchObject(ESCAPE);
      await expect(files.put('c/d', 'x')).rejects.toMatchObject(ESCAPE);
      await expect(files.delete('a')).rejects.toMatchObject(ESCAPE);
      expect(await names()).toEqual(['a/b', 'c']);
    });

    test('with a quota keeps no more than fits, however many are put at once', async () => {
      const limited = withQuota(files, {maxBytes: 100, maxFiles: 4});
      await limited.put('a', 'x'.repeat(60));
      await expect(limited.put('b', 'x'.repeat(41))).rejects.toMatchObject({code: 'MESSAGE_TOO_LARGE'});
      // It makes room for itself.
      await limited.put('./a', 'x'.repeat(90));
      const all = await Promise.allSettled(
        Array.from({length: 6}, (_, index) => limited.put(`at-once-${index}`, 'x'.repeat(3))),
      );
      expect(all.map(({status}) => status)).toEqual([
        ...['fulfilled', 'fulfilled', 'fulfilled'],
        ...['rejected', 'rejected', 'rejected'],
      ]);
      await expect(limited.put('e', '')).rejects.toMatchObject({code: 'MESSAGE_TOO_LARGE'});
      await limited.delete('at-once-0');
      await limited.put('e', 'x');
      await expect(limited.put('e', 'x'.repeat(9), {maxBytes: 3})).rejects.toThrow('larger than 3 bytes');
      expect(await limited.stat('a')).toMatchObject({size: 90});
      expect((await limited.list()).files).toHaveLength(4);
      expect((await limited.read('e')).toString()).toBe('x');
      expect(() => withQuota(files, {maxBytes: -1})).toThrow('quota');
    });
  });
}
