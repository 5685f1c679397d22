/**
 * The Lua 5.1 interpreter: lua-redis-wasm, whose declared Node version would warn or fail our users, so that the build
 * puts a copy of it beside this file (scripts/bundle-lua.js). From source it comes from node_modules.
 */
import {existsSync} from 'node:fs';
import {fileURLToPath, pathToFileURL} from 'node:url';
import {codeFile} from '../../config/package-info.js';

/** The parts of lua-redis-wasm that are used here. */
export interface LuaModule {
  create(host: LuaHost): unknown;
  /** WebAssembly's exports; private in the package's types. Its memory moves when it grows, so HEAPU8 is read anew each time. */
  readonly exports: LuaExports;
  /** What the package has imported into WebAssembly; ours replace two of them. */
  readonly handlers: {
    call: (...args: number[]) => void;
    pcall: (...args: number[]) => void;
  };
}

export interface LuaExports {
  readonly HEAPU8: Uint8Array;
  _alloc(bytes: number): number;
  _free_mem(pointer: number): void;
  _eval_with_args(
    result: number,
    script: number,
    scriptLength: number,
    args: number,
    argsLength: number,
    keyCount: number,
  ): void;
}

export interface LuaHost {
  redisCall: () => null;
  redisPcall: () => null;
  log: (level: number, message: Buffer) => void;
  onSetResp: (version: number) => void;
}

interface Package {
  readonly load: (options: {
    limits?: {maxFuel?: number; maxReplyBytes?: number};
    profile?: string;
    wasmBytes?: Uint8Array;
    redisProps?: Record<string, {value: string | number} | {returns: boolean | null}>;
  }) => Promise<LuaModule>;
}

/**
 * Instructions one script may take before it is killed: a few seconds. Redis would go on and answer BUSY to
 * everyone, which helps nobody in development.
 */
const MAX_FUEL = 500_000_000;

const bundled = pathToFileURL(codeFile('src/dev/embedded/lua/engine.mjs'));

let loading: Promise<Package> | undefined;

/** Start a new interpreter. It takes 10 to 30 ms. */
export async function loadLua(): Promise<LuaModule> {
  const name = existsSync(fileURLToPath(bundled)) ? bundled.href : 'lua-redis-wasm';
  loading ??= import(name) as Promise<Package>;
  const {load} = await loading;
  return load({
    profile: 'redis-7.0',
    limits: {maxFuel: MAX_FUEL},
    redisProps: {
      REDIS_VERSION: {value: '7.0.15'},
      REDIS_VERSION_NUM: {value: 0x0007000f},
      REPL_ALL: {value: 3},
      REPL_AOF: {value: 1},
      REPL_SLAVE: {value: 2},
      REPL_REPLICA: {value: 2},
      REPL_NONE: {value: 0},
      replicate_commands: {returns: true},
      set_repl: {returns: null},
      breakpoint: {returns: false},
      debug: {returns: null},
    },
  });
}
