/** Nothing of this area is built yet; what waits, and for which issue, is in later.ts. */
import {runRows} from './support.js';

runRows('observe', {});
