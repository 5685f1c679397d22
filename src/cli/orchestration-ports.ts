/** What commands about schedules need of the part that runs tasks. The one place where it is chosen. */
export {taskPort as schedulePort} from '../orchestration/task-port.js';
