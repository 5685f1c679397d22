/** Names a new project may have. They become folders, package names, agent types and lines of code. */
import path from 'node:path';
import {ByError} from '../errors.js';
import {isValidId} from '../ids.js';

const PROJECT_NAME = /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/;
/** npm refuses these; `dist` and `src` would be ignored by the tools of the project itself. */
const RESERVED = new Set(['node_modules', 'favicon.ico', 'package.json']);

/** @returns What is wrong with a project name, or null. */
export function projectNameProblem(name: string): string | null {
  if (RESERVED.has(name)) return `"${name}" is a reserved name.`;
  if (PROJECT_NAME.test(name) && !name.includes('..')) return null;
  return `"${name}" can not be a project name: use lower-case letters, digits, "-", "_" and "." (at most 64).`;
}

/** @returns What is wrong with an agent type, or null. */
export function agentTypeProblem(agentType: string): string | null {
  if (isValidId(agentType)) return null;
  return `"${agentType}" can not be an agent type: use letters, digits and ". _ : @ -", starting with a letter or digit.`;
}

/** `echo-bot` becomes `echo_bot`. */
export const agentTypeOf = (projectName: string): string => projectName.replaceAll('-', '_');

/** The project name a folder suggests; it may still be a wrong one. */
export const projectNameOf = (directory: string): string => path.basename(path.resolve(directory));

/** @throws {ByError} INVALID_INPUT if there is a problem. */
export function refuse(problem: string | null, flag: string): void {
  if (problem !== null) throw new ByError('INVALID_INPUT', problem, {hint: `Give another with ${flag}.`});
}
