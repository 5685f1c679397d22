/** In the project `roles`: whoever starts a worker, a manager or a send does it under that role's Redis user. */
import {vi} from 'vitest';
import type {SendRequest} from '../../src/availability/send.js';
import {as} from './roles.js';

vi.mock(import('../../src/worker/runner.js'), async original => {
  const runner = await original();
  return {...runner, startWorker: (...args) => as('worker', () => runner.startWorker(...args))};
});
vi.mock(import('../../src/availability/manager.js'), async original => {
  const manager = await original();
  return {...manager, startManager: (...args) => as('manager', () => manager.startManager(...args))};
});
vi.mock(import('../../src/availability/send.js'), async original => {
  const sender = await original();
  // A client may not speak to one worker: `by acl` leaves that to managers.
  const roleFor = ({workerId}: SendRequest) => (workerId === undefined ? 'client' : 'manager');
  return {...sender, send: (...args) => as(roleFor(args[1]), () => sender.send(...args))};
});
