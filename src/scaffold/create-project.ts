/** `by init` without its command line: a folder with a project in it, installed and under git if asked. */
import {existsSync} from 'node:fs';
import {readFile} from 'node:fs/promises';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {ByError} from '../errors.js';
import {agentTypeProblem, projectNameProblem, refuse} from './names.js';
import {chooseTarget, type Target} from './target.js';
import {renderTemplate, type ProjectFile, type Template} from './templates.js';
import {writeProject} from './write-project.js';

export interface ProjectPlan {
  readonly target: Target;
  readonly template: Template;
  readonly name: string;
  readonly agentType: string;
  readonly files: readonly ProjectFile[];
}

export interface ProjectChoice {
  readonly directory: string;
  readonly template: Template;
  readonly name: string;
  readonly agentType: string;
  /** What `dependencies` says for by-toolkit; a `file:` path is relative to the current folder. */
  readonly toolkit: string;
  readonly force: boolean;
}

/** Checks everything and renders the files; writes nothing. */
export async function planProject(choice: ProjectChoice, cwd: string): Promise<ProjectPlan> {
  const {directory, template, name, agentType, force} = choice;
  const target = await chooseTarget(directory, {cwd, force});
  refuse(projectNameProblem(name), '--name');
  refuse(agentTypeProblem(agentType), '--agent-type');
  const toolkit = toolkitSpec(choice.toolkit, cwd);
  const files = await renderTemplate(template, {name, agentType, toolkit});
  return {target, template, name, agentType, files};
}

/** Carries the plan out: all files or none. */
export async function createProject({files, target}: ProjectPlan): Promise<void> {
  await writeProject(files, target);
}

/** The project is whole, but its packages are not there: some of what was asked failed. */
export function installFailed(
  done: {dir: string; pm: string; reason: string} & Record<string, unknown>,
): ByError {
  const {dir, pm, reason, ...rest} = done;
  return new ByError('PARTIAL', `The project is in "${dir}", but ${pm} install failed: ${reason}`, {
    hint: 'Repair what the package manager complains about, then install again.',
    next: [dir === '.' ? `${pm} install` : `cd ${dir} && ${pm} install`],
    details: {dir, pm, ...rest},
  });
}

/** @returns What a new project depends on by default: this version, or a later compatible one. */
export async function ownToolkitSpec(): Promise<string> {
  const here = path.dirname(fileURLToPath(import.meta.url));
  for (let folder = here; folder !== path.dirname(folder); folder = path.dirname(folder)) {
    const text = await readFile(path.join(folder, 'package.json'), 'utf8').catch(() => '{}');
    const {name, version} = JSON.parse(text) as {name?: string; version?: string};
    if (name !== 'by-toolkit' || version === undefined) continue;
    // A checkout has its sources' settings beside it, the published package has not: no registry knows the checkout.
    return existsSync(path.join(folder, 'tsconfig.build.json')) ? `file:${folder}` : `^${version}`;
  }
  throw new ByError('INTERNAL', 'The package.json of by-toolkit is missing.', {
    hint: 'Install by-toolkit again.',
  });
}

function toolkitSpec(spec: string, cwd: string): string {
  if (spec === '' || /[\p{Cc}\p{Zl}\p{Zp}]/u.test(spec)) {
    throw new ByError('INVALID_INPUT', 'The version of by-toolkit is empty or has control characters.', {
      hint: 'Give --toolkit a version like ^0.1.0, or file:PATH of a tarball.',
    });
  }
  // npm reads it relative to the new project; whoever typed it meant the folder they are in.
  return spec.startsWith('file:') ? `file:${path.resolve(cwd, spec.slice('file:'.length))}` : spec;
}
