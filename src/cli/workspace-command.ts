/** A command about what is in one workspace: its tasks, runs and agents. */
import {BaseCommand} from './base-command.js';
import type {At} from './tasks/tasks.js';

export abstract class WorkspaceCommand extends BaseCommand {
  /** @param flags with `workspaceFlag()` among them. */
  protected async at({workspace}: {readonly workspace: string}): Promise<At> {
    return {store: await this.openStore(), printer: this.printer, workspace};
  }
}
