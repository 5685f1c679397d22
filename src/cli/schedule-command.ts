/** A command about the schedules of a workspace. */
import {BaseCommand} from './base-command.js';
import type {Place} from './schedules.js';
import {workspaceFlag} from './tasks/flags.js';

export abstract class ScheduleCommand extends BaseCommand {
  static override baseFlags = {...BaseCommand.baseFlags, workspace: workspaceFlag()};

  protected async place({workspace}: {readonly workspace: string}): Promise<Place> {
    const {schedulePort} = await import('./orchestration-ports.js');
    const store = await this.openStore();
    return {store, workspace, printer: this.printer, port: schedulePort(store)};
  }
}
