/** Where a process has its pages for those who watch it, and who can read them. */
import {healthPages, healthWarning, type HealthAddress} from '../observe/health-server.js';
import {paint, type Printer} from './printer.js';

export function tellHealth(printer: Printer, address: HealthAddress): void {
  printer.note(paint.dim(`  ${healthPages(address)}`));
  const warning = healthWarning(address);
  if (warning !== undefined) printer.warn(warning);
}
