/** A process that loads plugins to see whether they can be, and ends: what they do to it harms nobody. */
import {ByError, messageOf} from '../errors.js';
import {silentLogger} from '../log.js';
import type {CheckJob, FromCheck} from './check-plugin.js';
import {tryPlugins} from './try-plugins.js';

process.title = 'by plugin check';
process.on('disconnect', () => process.exit(1));
process.on('message', (job: CheckJob) => {
  const {path, agentTypes, settings} = job;
  tryPlugins([path], {workerId: 'worker-check', agentTypes, settings, log: silentLogger}).then(
    checked => tell({kind: 'checked', checked}),
    (error: unknown) => tell({kind: 'failed', ...failureOf(error)}),
  );
});

/** A plugin may keep the process from ending: it is ended. */
function tell(message: FromCheck): void {
  process.send?.(message, undefined, undefined, () => process.exit(0));
}

function failureOf(error: unknown): Omit<Extract<FromCheck, {kind: 'failed'}>, 'kind'> {
  if (!(error instanceof ByError))
    return {code: 'INTERNAL', message: messageOf(error), hint: '', details: {}};
  const {code, message, hint, details} = error;
  return {code, message, hint, details};
}
