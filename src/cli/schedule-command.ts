/** A command about the schedules of a workspace. */
import {BaseCommand} from './base-command.js';
import type {Place} from './schedules.js';
import {workspaceFlag, workspaceOf} from './workspace-flag.js';

export abstract class ScheduleCommand extends BaseCommand {
  static override baseFlags = {...BaseCommand.baseFlags, workspace: workspaceFlag()};

  /** @throws {ByError} INVALID_INPUT for a workspace that is none. */
  protected async place(flags: {readonly workspace?: string | undefined}): Promise<Place> {
    const workspace = workspaceOf(flags);
    const {schedulePort} = await import('./orchestration-ports.js');
    const store = await this.openStore();
    return {store, workspace, printer: this.printer, port: schedulePort(store)};
  }
}
