/** by-toolkit/s3: files of agents in a bucket. Needs @aws-sdk/client-s3. */
export {s3Files, type S3FilesOptions} from './s3-files.js';
export type {FileContent, FileInfo, FilePage, FileStore} from '../../files/file-store.js';
export {withQuota, type FileQuota} from '../../files/quota.js';
