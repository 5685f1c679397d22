/** What bin/by.js needs of oclif, as one entry of the build: the program and its commands must share one copy. */
export {run} from '@oclif/core/run';
export {settings} from '@oclif/core/settings';
