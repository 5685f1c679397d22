/** "Did you mean", for commands. */
export {editDistance, suggest} from '../nearest.js';
