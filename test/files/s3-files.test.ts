/** Files in a bucket: the suite of every store, and what only S3 has. */
import {S3Client} from '@aws-sdk/client-s3';
import {afterAll, beforeAll, beforeEach, describe, expect, test} from 'vitest';
import type {FileStore} from '../../src/files/file-store.js';
import {s3Files, type S3FilesOptions} from '../../src/integrations/s3/index.js';
import {S3_KEY, startS3Server, type S3Server} from '../support/s3-server.js';
import {describeFileStore} from './store-suite.js';

const configOf = ({endpoint, region}: S3Server, secretAccessKey: string = S3_KEY.secretAccessKey) => ({
  ...{endpoint, region, forcePathStyle: true},
  credentials: {accessKeyId: S3_KEY.accessKeyId, secretAccessKey},
});

describeFileStore('S3', async () => {
  const server = await startS3Server('files');
  const client = new S3Client(configOf(server));
  return {
    files: s3Files({bucket: 'files', prefix: 'agents/one', client}),
    kept: () => {
      // Nothing is half there, and nothing outside of the prefix.
      expect(server.openUploads()).toBe(0);
      expect(server.keys().every(key => key.startsWith('agents/one/'))).toBe(true);
      return server.keys().map(key => key.slice('agents/one/'.length));
    },
    close: async () => {
      client.destroy();
      await server.close();
    },
  };
});

describe('files in a bucket', () => {
  let server: S3Server;
  let files: FileStore;
  beforeAll(async () => {
    server = await startS3Server('files');
  });
  afterAll(() => server.close());
  const open = (options: Partial<S3FilesOptions> = {}) =>
    s3Files({bucket: 'files', prefix: 'mine', config: configOf(server), ...options});
  beforeEach(() => {
    files = open();
  });

  test('see nothing of what lies beside them, and not what has a name that is none', async () => {
    for (const key of [
      'outside',
      'minefield/x',
      'mine/../x',
      'mine/',
      'mine/folder/',
      'mine/ok',
      'mine/a//b',
      'mine/.by-put-1',
    ])
      server.plant(key, key);
    expect((await files.list()).files.map(({name}) => name)).toEqual(['ok']);
    await expect(files.read('../outside')).rejects.toMatchObject({code: 'WORKSPACE_ESCAPE'});
    expect(await files.delete('ok')).toBe(true);
    expect(server.keys()).toContain('outside');
  });

  test('small ones are one request, large ones go in parts, and either is seen whole', async () => {
    server.asked.clear();
    await files.put('small', 'x'.repeat(1000));
    expect(server.asked.get('put')).toBe(1);
    const parted = open({partBytes: 5 * 1024 * 1024});
    const bytes = Buffer.alloc(11 * 1024 * 1024 + 1, 'x');
    await parted.put('large', bytes);
    expect([server.asked.get('part'), server.asked.get('complete')]).toEqual([3, 1]);
    expect((await parted.read('large')).equals(bytes)).toBe(true);
    // Exactly one part is no upload in parts.
    await parted.put('exact', bytes.subarray(0, 5 * 1024 * 1024));
    expect(server.asked.get('createUpload')).toBe(1);
    expect(await parted.stat('exact')).toMatchObject({size: 5 * 1024 * 1024});
  });

  test('an upload that is refused half way leaves nothing; what fails for a moment is tried again', async () => {
    server.failNext('part', 403, 'AccessDenied');
    await expect(files.put('refused', Buffer.alloc(20_000_000))).rejects.toMatchObject({
      name: 'AccessDenied',
    });
    expect(server.openUploads()).toBe(0);
    await expect(files.stat('refused')).rejects.toMatchObject({code: 'NOT_FOUND'});
    server.failNext('put', 503, 'SlowDown');
    await files.put('again', 'x');
    expect((await files.read('again')).toString()).toBe('x');
  });

  test('a wrong key is refused, not taken for a file that is not there', async () => {
    const stranger = open({config: configOf(server, 'wrong')});
    await expect(stranger.put('x', 'x')).rejects.toMatchObject({name: 'SignatureDoesNotMatch'});
    await expect(stranger.read('x')).rejects.toMatchObject({name: 'SignatureDoesNotMatch'});
    await expect(open({bucket: 'nowhere'}).list()).rejects.toMatchObject({name: 'NoSuchBucket'});
  });

  test('options that can not be are refused by name', () => {
    expect(() => open({bucket: ''})).toThrow('bucket');
    expect(() => open({partBytes: 1000})).toThrow('parts');
    expect(() => open({prefix: '../x'})).toThrow();
  });
});
