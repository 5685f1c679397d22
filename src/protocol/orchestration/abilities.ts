/** What a worker of ours can hold a run to, as it has found out itself. */
import {z} from 'zod';
import {record} from './record.js';

export const SandboxAbilities = record({
  /** How programs are held back: the means of the machine that were tried and held. */
  isolation: z.enum(['bubblewrap', 'namespaces', 'none']),
  /** The network can be taken away. */
  network: z.boolean(),
  /** The workspace can be made unreadable or read-only. */
  workspace: z.boolean(),
  /** Memory and processor time of a single process can be limited; what many of them use together can not. */
  limits: z.boolean(),
  /** What all processes of a program use together of memory, processor and process numbers is limited. */
  resources: z.boolean().default(false),
});
export type SandboxAbilities = Readonly<z.output<typeof SandboxAbilities>>;

export const WorkerAbilities = record({
  /** Absent: it has not looked (`by worker run --sandbox`). */
  sandbox: SandboxAbilities.optional(),
});
export type WorkerAbilities = Readonly<z.output<typeof WorkerAbilities>>;
