/**
 * What S3 does that a store of files needs, over HTTP and in memory: signatures of version 4 and checksums are checked, an object
 * is there whole or not at all, uploads in parts too. docs.aws.amazon.com/AmazonS3/latest/API
 */
import {createHash, createHmac, randomBytes} from 'node:crypto';
import {createServer, type IncomingMessage, type ServerResponse} from 'node:http';
import {crc32} from 'node:zlib';
import type {AddressInfo} from 'node:net';

export const S3_KEY = {accessKeyId: 'AKIATEST', secretAccessKey: 'not/a+secret'} as const;
const REGION = 'eu-test-1';
const MIN_PART_BYTES = 5 * 1024 * 1024;
const SKEW_MS = 900_000;

export interface S3Server {
  /** For the configuration of a client. */
  readonly endpoint: string;
  readonly region: string;
  /** Keys there are, sorted as S3 does. */
  keys(): string[];
  /** Uploads that were neither completed nor thrown away. */
  openUploads(): number;
  /** Put an object there as somebody else would. */
  plant(key: string, body: string): void;
  /** How often each operation was asked for. */
  readonly asked: Map<string, number>;
  /** Answer the next request of this operation with an error. */
  failNext(operation: string, status: number, code: string): void;
  close(): Promise<void>;
}

interface Stored {
  readonly body: Buffer;
  readonly modified: Date;
}

class S3Error extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
  ) {
    super(code);
  }
}

export async function startS3Server(bucket: string): Promise<S3Server> {
  const objects = new Map<string, Stored>();
  const uploads = new Map<string, {key: string; parts: Map<number, Buffer>}>();
  const asked = new Map<string, number>();
  const failures = new Map<string, S3Error>();
  const ask = (operation: string) => {
    asked.set(operation, (asked.get(operation) ?? 0) + 1);
    const failure = failures.get(operation);
    failures.delete(operation);
    if (failure !== undefined) throw failure;
  };
  const keys = () => [...objects.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

  const answer = (request: IncomingMessage, body: Buffer, response: ServerResponse): unknown => {
    const [rawPath = '', rawQuery = ''] = (request.url ?? '').split('?');
    const query = new URLSearchParams(rawQuery);
    checkSignature(request, rawPath, rawQuery, body);
    const [, name = '', ...rest] = rawPath.split('/');
    if (name !== bucket) throw new S3Error(404, 'NoSuchBucket');
    const key = decodeURIComponent(rest.join('/'));
    const uploadId = query.get('uploadId') ?? '';
    const upload = () => {
      const found = uploads.get(uploadId);
      if (found?.key !== key) throw new S3Error(404, 'NoSuchUpload');
      return found;
    };
    const stored = () => {
      const found = objects.get(key);
      if (found === undefined) throw new S3Error(404, 'NoSuchKey');
      return found;
    };
    if (key === '' && request.method === 'GET') {
      ask('list');
      return sendXml(response, listed(query, keys(), objects));
    }
    switch (
      `${request.method ?? ''} ${[...query.keys()]
        .filter(one => one !== 'x-id')
        .sort()
        .join(',')}`
    ) {
      case 'PUT ':
        ask('put');
        objects.set(key, {body, modified: new Date()});
        return response.writeHead(200, {etag: etag(body)}).end();
      case 'GET ':
      case 'HEAD ': {
        ask(request.method === 'GET' ? 'get' : 'head');
        const {body: content, modified} = stored();
        response.writeHead(200, {
          ...{'content-length': content.length, etag: etag(content)},
          'last-modified': modified.toUTCString(),
        });
        return response.end(request.method === 'GET' ? content : undefined);
      }
      case 'DELETE ':
        ask('delete');
        objects.delete(key);
        return response.writeHead(204).end();
      case 'POST uploads': {
        ask('createUpload');
        const id = randomBytes(8).toString('hex');
        uploads.set(id, {key, parts: new Map()});
        return sendXml(
          response,
          `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
        );
      }
      case 'PUT partNumber,uploadId':
        ask('part');
        upload().parts.set(Number(query.get('partNumber')), body);
        return response.writeHead(200, {etag: etag(body)}).end();
      case 'POST uploadId': {
        ask('complete');
        objects.set(key, {body: assembled(upload().parts, body.toString()), modified: new Date()});
        uploads.delete(uploadId);
        return sendXml(
          response,
          `<CompleteMultipartUploadResult><Key>${escaped(key)}</Key></CompleteMultipartUploadResult>`,
        );
      }
      case 'DELETE uploadId':
        ask('abort');
        upload();
        uploads.delete(uploadId);
        return response.writeHead(204).end();
      default:
        throw new S3Error(501, 'NotImplemented');
    }
  };

  const server = createServer((request, response) => {
    void (async () => {
      const pieces: Buffer[] = [];
      for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
      try {
        answer(request, Buffer.concat(pieces), response);
      } catch (error) {
        const {status, code} = error instanceof S3Error ? error : new S3Error(500, 'InternalError');
        sendXml(response, `<Error><Code>${code}</Code><Message>${code}</Message></Error>`, status);
      }
    })();
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    ...{endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, region: REGION, keys, asked},
    openUploads: () => uploads.size,
    plant: (key, body) => void objects.set(key, {body: Buffer.from(body), modified: new Date()}),
    failNext: (operation, status, code) => void failures.set(operation, new S3Error(status, code)),
    close: () =>
      new Promise(resolve => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

/** Folders stand for what is below them, and count like keys. */
function listed(
  query: URLSearchParams,
  keys: readonly string[],
  objects: ReadonlyMap<string, Stored>,
): string {
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const most = Math.min(1000, Number(query.get('max-keys') ?? 1000));
  const token = query.get('continuation-token');
  const after = token === null ? (query.get('start-after') ?? '') : Buffer.from(token, 'base64').toString();
  const isAfter = (key: string) => Buffer.compare(Buffer.from(key), Buffer.from(after)) > 0;
  const rows: {key: string; isFolder: boolean}[] = [];
  for (const key of keys.filter(one => one.startsWith(prefix))) {
    const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    const row = end === -1 ? {key, isFolder: false} : {key: key.slice(0, end + 1), isFolder: true};
    if (isAfter(row.key) && rows.at(-1)?.key !== row.key) rows.push(row);
  }
  const page = rows.slice(0, most);
  const isTruncated = rows.length > page.length;
  const xml = page.map(({key, isFolder}) => {
    if (isFolder) return `<CommonPrefixes><Prefix>${escaped(key)}</Prefix></CommonPrefixes>`;
    const {body, modified} = objects.get(key)!;
    return `<Contents><Key>${escaped(key)}</Key><LastModified>${modified.toISOString()}</LastModified><ETag>${escaped(etag(body))}</ETag><Size>${body.length}</Size></Contents>`;
  });
  const next = isTruncated ? Buffer.from(page.at(-1)?.key ?? '').toString('base64') : '';
  return `<ListBucketResult><IsTruncated>${isTruncated}</IsTruncated><KeyCount>${page.length}</KeyCount>${
    next === '' ? '' : `<NextContinuationToken>${next}</NextContinuationToken>`
  }${xml.join('')}</ListBucketResult>`;
}

function assembled(parts: ReadonlyMap<number, Buffer>, xml: string): Buffer {
  const wanted = [...xml.matchAll(/<Part>([\s\S]*?)<\/Part>/g)].map(([, part = '']) => ({
    number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
    tag: (/<ETag>(.*?)</.exec(part)?.[1] ?? '').replaceAll('&quot;', '"'),
  }));
  const bodies = wanted.map(({number, tag}, at) => {
    const body = parts.get(number);
    if (body === undefined || etag(body) !== tag) throw new S3Error(400, 'InvalidPart');
    if (at > 0 && number <= (wanted[at - 1]?.number ?? 0)) throw new S3Error(400, 'InvalidPartOrder');
    if (at < wanted.length - 1 && body.length < MIN_PART_BYTES) throw new S3Error(400, 'EntityTooSmall');
    return body;
  });
  if (bodies.length === 0) throw new S3Error(400, 'MalformedXML');
  return Buffer.concat(bodies);
}

/** docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html */
function checkSignature(request: IncomingMessage, path: string, query: string, body: Buffer): void {
  const header = (name: string) => String(request.headers[name] ?? '');
  const found =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      header('authorization'),
    );
  if (found === null) throw new S3Error(403, 'AccessDenied');
  const [, keyId = '', day = '', region = '', names = '', signature] = found;
  if (keyId !== S3_KEY.accessKeyId) throw new S3Error(403, 'InvalidAccessKeyId');
  const stamp = header('x-amz-date');
  const at = Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
  if (!stamp.startsWith(day) || !(Math.abs(Date.now() - at) < SKEW_MS))
    throw new S3Error(403, 'RequestTimeTooSkewed');
  const signed = names.split(';');
  const mustBe = Object.keys(request.headers).filter(name => name === 'host' || name.startsWith('x-amz-'));
  if (mustBe.some(name => !signed.includes(name))) throw new S3Error(403, 'AccessDenied');
  const hash = header('x-amz-content-sha256');
  const canonical = [
    request.method,
    path,
    query
      .split('&')
      .filter(part => part !== '')
      .map(part => (part.includes('=') ? part : `${part}=`))
      .sort()
      .join('&'),
    ...signed.map(name => `${name}:${header(name).trim().replaceAll(/ +/g, ' ')}`),
    '',
    names,
    hash,
  ].join('\n');
  const scope = `${day}/${region}/s3/aws4_request`;
  const text = ['AWS4-HMAC-SHA256', stamp, scope, sha256(canonical)].join('\n');
  const hmac = (key: string | Buffer, value: string) => createHmac('sha256', key).update(value).digest();
  const key = [day, region, 's3', 'aws4_request'].reduce<string | Buffer>(
    (secret, part) => hmac(secret, part),
    `AWS4${S3_KEY.secretAccessKey}`,
  );
  if (region !== REGION || hmac(key, text).toString('hex') !== signature)
    throw new S3Error(403, 'SignatureDoesNotMatch');
  if (hash !== 'UNSIGNED-PAYLOAD' && hash !== sha256(body))
    throw new S3Error(400, 'XAmzContentSHA256Mismatch');
  const sum = header('x-amz-checksum-crc32');
  const own = Buffer.alloc(4);
  own.writeUInt32BE(crc32(body));
  if (sum !== '' && sum !== own.toString('base64')) throw new S3Error(400, 'BadDigest');
}

const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');
const etag = (body: Buffer) => `"${createHash('md5').update(body).digest('hex')}"`;

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

function sendXml(response: ServerResponse, xml: string, status = 200): ServerResponse {
  const body = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>${xml}`);
  response.writeHead(status, {'content-type': 'application/xml', 'content-length': body.length});
  return response.end(body);
}
