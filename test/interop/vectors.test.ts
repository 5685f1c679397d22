import {describe, expect, test} from 'vitest';
import {commandsFamily} from './checks/commands.js';
import {eventsFamily} from './checks/events.js';
import {
  auditFamily,
  byaiFamily,
  discoveryFamily,
  metricsFamily,
  snapshotFamily,
  traceFamily,
} from './checks/formats.js';
import {idsFamily} from './checks/ids.js';
import {keysFamily} from './checks/keys.js';
import {
  availabilityFamily,
  clientFamily,
  controlFamily,
  executionsFamily,
  hazardsFamily,
  javaFamily,
  lifecycleFamily,
  registryFamily,
  typescriptFamily,
} from './checks/live.js';
import {resultsFamily} from './checks/results.js';
import {behavioural} from './behavioural.js';
import {BEHAVIOUR, notApplicable} from './not-applicable.js';
import {rows, type Check, type Family, type Row} from './vectors.js';

const families: readonly Family[] = [
  keysFamily,
  idsFamily,
  commandsFamily,
  eventsFamily,
  resultsFamily,
  byaiFamily,
  snapshotFamily,
  auditFamily,
  discoveryFamily,
  metricsFamily,
  traceFamily,
  availabilityFamily,
  registryFamily,
  executionsFamily,
  clientFamily,
  lifecycleFamily,
  controlFamily,
  hazardsFamily,
  javaFamily,
  typescriptFamily,
];

function checkOf(row: Row): Check | undefined {
  if (Object.hasOwn(notApplicable, row.id)) return undefined;
  const family = families.find(({file}) => file === row.file);
  return family?.checks.find(([pattern]) => pattern.test(row.name))?.[1];
}

const covered = rows.flatMap(row => {
  const check = checkOf(row);
  return check ? [{row, check}] : [];
});

for (const {file} of families) {
  describe(`vectors of ${file}.json`, () => {
    for (const {row, check} of covered.filter(each => each.row.file === file)) {
      test(row.id, () => {
        expect.hasAssertions();
        check(row);
      });
    }
  });
}

describe('every row of the vectors is accounted for', () => {
  const ids = rows.map(row => row.id);
  const coveredIds = covered.map(({row}) => row.id);

  test('by a check, or by a reason why there is none', () => {
    expect([...coveredIds, ...Object.keys(notApplicable)].sort()).toEqual([...ids].sort());
  });

  test('and the names of both lists exist', () => {
    expect(Object.keys(notApplicable).filter(id => !ids.includes(id))).toEqual([]);
    expect(
      Object.values(behavioural)
        .flat()
        .filter(id => !ids.includes(id)),
    ).toEqual([]);
  });

  test('and behaviour is a reason only where an area answers for it', () => {
    const answered: readonly string[] = Object.values(behavioural).flat();
    const unanswered = Object.entries(notApplicable).filter(
      ([id, why]) => why === BEHAVIOUR && !answered.includes(id),
    );
    expect(unanswered).toEqual([]);
  });

  test('and no check fits nothing', () => {
    const unused = families.flatMap(({file, checks}) =>
      checks
        .filter(([, check]) => !covered.some(({row, check: used}) => row.file === file && used === check))
        .map(([pattern]) => `${file} ${pattern.source}`),
    );
    expect(unused).toEqual([]);
  });
});
