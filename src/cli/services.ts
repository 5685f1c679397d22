/** `by service list|show`: who registered itself for others to find. */
import {ByError} from '../errors.js';
import {isHealthy, serviceUrl} from '../protocol/discovery.js';
import {heartbeatTime, instancesOf, serviceNames, type FoundInstance} from '../store/services.js';
import type {Store} from '../store/store.js';
import {checkedId} from './ids.js';
import {opaque} from './json.js';
import {paint, type Printer} from './printer.js';
import {suggest} from './suggest.js';
import {relativeTime} from './time.js';

export async function listServices(store: Store, printer: Printer, output: string) {
  const [names, now] = await Promise.all([serviceNames(store), heartbeatTime(store)]);
  const services = await Promise.all(
    names.map(async service => {
      const instances = await instancesOf(store, service);
      const alive = instances.filter(each => isHealthy(each.lastHeartbeat, now)).length;
      return {service, alive, instances: instances.length};
    }),
  );
  if (output === 'name') for (const {service} of services) printer.out(service);
  else {
    printer.table(services, [
      {header: 'SERVICE', value: row => row.service},
      {
        header: 'ALIVE',
        value: row => (row.alive === 0 ? paint.red('0') : String(row.alive)),
        align: 'right',
      },
      {header: 'INSTANCES', value: row => String(row.instances), align: 'right'},
    ]);
    if (services.length === 0) printer.note('No service was ever registered here.');
  }
  return {services};
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND for a service nobody ever registered. */
export async function showService(store: Store, printer: Printer, output: string, name: string) {
  const service = checkedId(name, 'service name');
  const [found, now] = await Promise.all([instancesOf(store, service), heartbeatTime(store)]);
  if (found.length === 0) await requireKnown(store, service);
  const instances = found.map(each => ({...each, alive: isHealthy(each.lastHeartbeat, now)}));
  if (output === 'name') for (const {id} of instances) printer.out(id);
  else {
    printer.table(instances, [
      {header: 'INSTANCE', value: row => row.id},
      {header: 'ALIVE', value: row => (row.alive ? paint.green('yes') : paint.red('no'))},
      {header: 'HEARTBEAT', value: row => relativeTime(row.lastHeartbeat, now)},
      {header: 'ADDRESS', value: addressText},
      {header: 'WEIGHT', value: row => String(row.weight), align: 'right'},
      {header: 'METADATA', value: row => metadataText(row), shrink: true},
    ]);
    if (instances.length === 0) printer.note(`"${service}" has no instance now.`);
  }
  return {
    service,
    instances: instances.map(({metadata, ...instance}) => ({...instance, metadata: opaque(metadata)})),
  };
}

const addressText = (instance: FoundInstance): string => serviceUrl(instance);

const metadataText = ({metadata}: FoundInstance): string =>
  Object.keys(metadata).length === 0 ? '-' : JSON.stringify(metadata);

async function requireKnown(store: Store, service: string): Promise<void> {
  const names = await serviceNames(store);
  if (names.includes(service)) return;
  const near = suggest(service, names);
  throw new ByError('NOT_FOUND', `No service "${service}" was ever registered here.`, {
    hint: near === null ? 'See what there is with `by service list`.' : `Did you mean "${near}"?`,
    next: ['by service list'],
  });
}
