/** `memory`: what stays of finished tasks, on the server and in a worker. */
import {measure} from '../measure.js';
import type {BenchOptions} from '../options.js';
import {budget, report} from '../report.js';
import {withServer} from '../server.js';

/** What is counted hardly varies, so one round is enough. */
export async function memory({quick}: BenchOptions): Promise<void> {
  const [few, many] = quick ? [5000, 20_000] : [20_000, 100_000];
  const found = await withServer(url => measure('memory', url, few, many));
  const {bytesKept, left, rssFew, rssMany} = found;
  report(
    {workload: 'memory', subject: 'ours', tasks: many, ...found},
    `${bytesKept.toFixed(0)} bytes kept a task, ${left} entries left, ` +
      `${rssFew.toFixed(0)} MB after ${few} tasks, ${rssMany.toFixed(0)} MB after ${many}`,
  );
  budget('at most 2,300 bytes kept for a finished task', bytesKept <= 2300, bytesKept.toFixed(0));
  budget('nothing left on the control stream', left === 0, String(left));
  budget(
    'client and worker in one process: at most 10 MB more after 100,000 tasks than after 20,000',
    rssMany - rssFew <= 10,
    `${rssFew.toFixed(0)} and ${rssMany.toFixed(0)} MB`,
  );
}
