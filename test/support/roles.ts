/**
 * The suites once more, with every part of a deployment under the Redis user of its role (`by acl`): what a worker does,
 * also in its timers, is done as `worker`, what a client sends as `client`, what a manager does as `manager`; what a test
 * does itself, as an operator, is done as `manager`. A right that is missing fails the test that needs it.
 */
import {AsyncLocalStorage} from 'node:async_hooks';
import {Redis} from 'ioredis';
import {aclRules, type AclRole} from '../../src/protocol/acl.js';
import {openStore, type Store, type StoreOptions} from '../../src/store/store.js';

const PASSWORD = 'secret';
/** Those that write: a viewer has less than each of them. */
const ROLES = ['client', 'worker', 'manager'] as const satisfies readonly AclRole[];
type Role = (typeof ROLES)[number];

const current = new AsyncLocalStorage<Role>();

/** Run something, and all that it begins, as a role. */
export const as = <T>(role: Role, act: () => T): T => current.run(role, act);

export function roleUrl(url: string, role: Role): string {
  const parsed = new URL(url);
  parsed.username = role;
  parsed.password = PASSWORD;
  return parsed.href;
}

/** @param prefix glob of what the tests put in front of their keys. */
export async function createRoles(url: string, prefix: string): Promise<void> {
  const admin = new Redis(url);
  for (const role of ROLES) {
    const rules = aclRules(role, {schema: 'v1', agentTypes: ['*'], workerPrefix: '', since72: false, prefix});
    await admin.call('ACL', 'SETUSER', role, ...rules, `>${PASSWORD}`);
  }
  admin.disconnect();
}

/** One store that is another for each role. */
export function openByRole(options: StoreOptions): Store {
  const stores = Object.fromEntries(
    ROLES.map(role => [role, openStore({...options, url: roleUrl(options.url, role)})]),
  ) as Record<Role, Store>;
  const mine = () => stores[current.getStore() ?? 'manager'];
  const commands = new Proxy(stores.manager.commands, {
    get: (_, name) => {
      const connection = mine().commands;
      const value: unknown = Reflect.get(connection, name, connection);
      return typeof value === 'function' ? (value.bind(connection) as unknown) : value;
    },
  });
  return {
    ...stores.manager,
    commands,
    get options() {
      return mine().options;
    },
    blocking: (name, key) => mine().blocking(name, key),
    close: () => {
      for (const store of Object.values(stores)) store.close();
    },
  };
}
