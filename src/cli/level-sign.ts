/** How checks and findings are marked, wherever some are listed. */
import {paint, type Printer, type Text} from './printer.js';

export type Level = 'ok' | 'warning' | 'problem';

export function levelSign(printer: Printer, level: Level): Text {
  switch (level) {
    case 'ok':
      return paint.green(printer.symbol('ok'));
    case 'warning':
      return paint.yellow(printer.symbol('warning'));
    case 'problem':
      return paint.red(printer.symbol('error'));
  }
}
