import WorkerList from '../worker/list.js';

export default class RegistryWorkers extends WorkerList {
  static override summary = 'List workers (the same as `by worker list`).';
}
