/** A command that talks to Redis: what all commands share, and the flags that say where. */
import {DURABILITIES} from '../config/connection.js';
import {ByError} from '../errors.js';
import type {Store} from '../store/store.js';
import {connectionFlags, generalFlags, type ConnectionChoice} from './flags.js';
import {LocalCommand} from './local-command.js';
import {rememberSecret} from '../redact.js';
import {readAll} from './stdin.js';

export abstract class BaseCommand extends LocalCommand {
  static override baseFlags = {...generalFlags, ...connectionFlags};

  #connection: ConnectionChoice = {
    redisUrl: undefined,
    redisPassword: undefined,
    keySchema: undefined,
    durability: undefined,
  };
  #isStdinTaken = false;

  /** Where to connect, as far as the flags say; known after `parse`. */
  protected get connection(): ConnectionChoice {
    return this.#connection;
  }

  /** The store the flags, the environment or the project name; closed when the command ends. */
  protected async openStore(): Promise<Store> {
    const {connect} = await import('./connect.js');
    const {store} = await connect(this.connection);
    this.onExit(() => store.close());
    return store;
  }

  /**
   * All of standard input, for an argument that is `-`.
   * @throws {ByError} USAGE if it is a terminal, or --redis-password-stdin has taken it.
   */
  protected async readStdin(what: string): Promise<string> {
    if (this.#isStdinTaken) {
      throw new ByError('USAGE', `${what} and the password can not both come from standard input.`, {
        hint: 'Put the URL with its password in BY_REDIS_URL instead of using --redis-password-stdin.',
      });
    }
    this.#isStdinTaken = true;
    return readAll(process.stdin, what);
  }

  protected override async applyFlags(flags: Record<string, unknown>): Promise<void> {
    await super.applyFlags(flags);
    this.#connection = {
      redisUrl: typeof flags['redis-url'] === 'string' ? flags['redis-url'] : undefined,
      redisPassword: flags['redis-password-stdin'] === true ? await this.#readPassword() : undefined,
      keySchema:
        flags['key-schema'] === 'v1' || flags['key-schema'] === 'v2' ? flags['key-schema'] : undefined,
      durability: DURABILITIES.find(level => level === flags['durability']),
    };
  }

  async #readPassword(): Promise<string> {
    const password = (await this.readStdin('The password')).replace(/\r?\n$/, '');
    if (password === '') {
      throw new ByError('USAGE', 'The password on standard input is empty.', {
        hint: 'Pipe it in, for example: by … --redis-password-stdin < password-file',
      });
    }
    rememberSecret(password);
    return password;
  }
}
