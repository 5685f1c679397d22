/** `by init`: a new project from a template. */
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {LocalCommand} from '../src/cli/local-command.js';
import type {ProjectPlan} from '../src/scaffold/create-project.js';
import type {GitResult, PackageManager} from '../src/scaffold/tools.js';

interface InitResult {
  readonly dir: string;
  readonly name: string;
  readonly template: string;
  readonly agentType: string;
  readonly files: readonly string[];
  /** False under --print. */
  readonly written: boolean;
  readonly pm: PackageManager;
  readonly installed: boolean;
  readonly git: GitResult | 'skipped';
}

interface TemplateList {
  readonly templates: readonly {readonly name: string; readonly summary: string}[];
}

export default class Init extends LocalCommand {
  static override summary = 'Create a project: a worker that runs at once, with its tests.';
  static override description =
    'Writes all files or none. Asks for what is not given when it runs in a terminal without --yes.';
  static override examples = [
    '<%= config.bin %> init echo-bot',
    '<%= config.bin %> init echo-bot --agent-type echo --pm pnpm --no-git --yes',
    '<%= config.bin %> init echo-bot --print',
  ];
  static override args = {
    dir: Args.string({
      description: 'folder to create, inside the current one; its name becomes the project name',
    }),
  };
  static override flags = {
    template: Flags.string({description: 'what to start from; see --list-templates', default: 'worker'}),
    name: Flags.string({description: 'name of the project; default: the name of the folder'}),
    'agent-type': Flags.string({
      description: 'agent type the worker serves; default: the name, with _ for -',
    }),
    pm: Flags.option({
      options: ['auto', 'npm', 'pnpm', 'yarn', 'bun'] as const,
      default: 'auto',
      description: 'package manager to install with',
    })(),
    install: Flags.boolean({
      allowNo: true,
      description: 'install the dependencies (never runs their scripts)',
    }),
    git: Flags.boolean({allowNo: true, description: 'make it a git repository with a first commit'}),
    toolkit: Flags.string({
      description: 'version of by-toolkit to depend on; also file:PATH of a tarball',
      helpValue: 'SPEC',
    }),
    force: Flags.boolean({
      description: 'write into a folder that is not empty; replaces files of the same name',
    }),
    print: Flags.boolean({description: 'list the files, write nothing'}),
    'list-templates': Flags.boolean({description: 'list the templates there are'}),
  };

  async run(): Promise<InitResult | TemplateList> {
    const {args, flags} = await this.parse(Init);
    const {findTemplate, templates} = await import('../src/scaffold/templates.js');
    if (flags['list-templates']) {
      this.printer.table(templates, [
        {header: 'TEMPLATE', value: template => template.name},
        {header: 'WHAT IT IS', value: template => template.summary},
      ]);
      return {templates};
    }

    const {askForMissing} = await import('../src/cli/init-questions.js');
    const {detectPackageManager} = await import('../src/scaffold/tools.js');
    const {ownToolkitSpec, planProject} = await import('../src/scaffold/create-project.js');
    const asked = {
      directory: args.dir,
      name: flags.name,
      agentType: flags['agent-type'],
      install: flags.install,
      git: flags.git,
    };
    const template = findTemplate(flags.template);
    const isInteractive = this.canPrompt && !flags.yes && !flags.print;
    const choice = await askForMissing(asked, isInteractive);
    const plan = await planProject(
      {...choice, template, force: flags.force, toolkit: flags.toolkit ?? (await ownToolkitSpec())},
      process.cwd(),
    );
    const pm = flags.pm === 'auto' ? detectPackageManager(process.env) : flags.pm;
    const result = {
      dir: plan.target.shown,
      name: plan.name,
      template: template.name,
      agentType: plan.agentType,
      files: plan.files.map(file => file.path),
      pm,
    };
    if (flags.print) {
      for (const file of result.files) this.log(file);
      return {...result, written: false, installed: false, git: 'skipped'};
    }
    const {failure, ...done} = await this.#create(plan, {pm, install: choice.install, git: choice.git});
    if (failure !== null) {
      const {installFailed} = await import('../src/scaffold/create-project.js');
      throw installFailed({reason: failure, ...result, ...done});
    }
    this.#showNext(plan, done.installed, pm);
    if (isInteractive) {
      this.printer.note('Same again:  by init ', ...choice.asFlags, flags.force ? ' --force' : '', ' --yes');
    }
    return {...result, written: true, ...done};
  }

  async #create(plan: ProjectPlan, {pm, install, git}: {pm: PackageManager; install: boolean; git: boolean}) {
    const {createProject} = await import('../src/scaffold/create-project.js');
    const tools = await import('../src/scaffold/tools.js');
    const {signal} = this;
    await createProject(plan);
    this.#showFiles(plan);
    let installed = false;
    let failure: string | null = null;
    if (install) {
      this.printer.note(`  ${pm.padEnd(6)}  installing…`);
      const outcome = await tools.install(pm, plan.target.directory, signal);
      signal.throwIfAborted();
      if (outcome.ok) {
        const {formatDuration} = await import('../src/cli/duration.js');
        const count = outcome.packages === null ? '' : ` ${outcome.packages} packages`;
        this.log(`  ${pm.padEnd(6)}  installed${count} in ${formatDuration(outcome.elapsedMs)}`);
        installed = true;
      } else {
        failure = outcome.reason;
      }
    }
    const gitResult: InitResult['git'] = git ? await tools.initGit(plan.target.directory, signal) : 'skipped';
    signal.throwIfAborted();
    if (gitResult !== 'skipped') this.log(`  git     ${GIT_LINES[gitResult]}`);
    return {installed, git: gitResult, failure};
  }

  #showFiles({files}: ProjectPlan): void {
    const top = files.filter(file => !file.path.includes('/'));
    const below = files.filter(file => file.path.includes('/'));
    for (const group of [top, below]) {
      if (group.length > 0) this.log('  create  ', group.map(file => file.path).join('  '));
    }
  }

  #showNext({target, agentType}: ProjectPlan, installed: boolean, pm: PackageManager): void {
    const by = `${pm === 'npm' ? 'npx' : `${pm} exec`} by`;
    const steps = [
      ...(target.shown === '.' ? [] : [`cd ${target.shown}`]),
      ...(installed ? [] : [`${pm} install`]),
      `${by} dev`,
    ];
    this.log('Next:  ', steps.join(' && '));
    this.log(
      'Then:  ',
      `${by} send ${agentType} "hi" --follow`,
      '    in another terminal, in the same folder',
    );
  }
}

const GIT_LINES: Readonly<Record<GitResult, string>> = {
  initialised: 'initialised, first commit',
  initialised_without_commit: 'initialised, nothing committed (git has no name and address for you?)',
  inside_another_repository: 'left alone: the folder already lies in a repository',
  unavailable: 'left alone: git is not installed or can not work here',
};
