/**
 * fast-check with the same values in each run, so that what fails fails for everybody, and nothing fails by luck.
 * `BY_SEED=7` tries others.
 */
import fc from 'fast-check';

fc.configureGlobal({seed: Number(process.env['BY_SEED'] ?? 20_261_121)});

export default fc;
