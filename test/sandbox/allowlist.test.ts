import {mkdtemp, rm, symlink, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {
  allowPattern,
  argsHash,
  isAllowed,
  judgeToolCall,
  resolveProgram,
  subjectHash,
} from '../../src/sandbox/allowlist.js';
import {resolveEnforcement, unenforceable} from '../../src/sandbox/enforcement.js';

const exec = (...argv: string[]) => ({tool: 'exec', argv, cwd: '/w', envKeys: []});
const caller = {agentType: 'a', sessionId: 's'};

describe('what becomes of a call', () => {
  test.each([
    ['deny', 'off', true, 'deny'],
    ['deny', 'always', true, 'deny'],
    ['full', 'off', false, 'run'],
    ['full', 'on-miss', false, 'run'],
    ['full', 'always', true, 'ask'],
    ['allowlist', 'off', true, 'run'],
    ['allowlist', 'off', false, 'deny'],
    ['allowlist', 'on-miss', true, 'run'],
    ['allowlist', 'on-miss', false, 'ask'],
    ['allowlist', 'always', true, 'ask'],
  ] as const)('security %s, ask %s, listed %s: %s', (security, ask, isListed, verdict) => {
    expect(judgeToolCall({security, ask}, isListed)).toBe(verdict);
  });
});

describe('the allowlist', () => {
  test('knows programs by the file they are, with globs, and tools by name', () => {
    expect(isAllowed(exec('/usr/bin/ls', '-l'), ['/usr/bin/ls'])).toBe(true);
    expect(isAllowed(exec('/usr/bin/ls'), ['/usr/bin/*'])).toBe(true);
    expect(isAllowed(exec('/usr/bin/sub/ls'), ['/usr/bin/*'])).toBe(false);
    expect(isAllowed(exec('/tmp/ls'), ['/usr/bin/*', 'ls', '*', '**'])).toBe(false);
    expect(isAllowed({tool: 'search'}, ['tool:search'])).toBe(true);
    expect(isAllowed({tool: 'search'}, ['tool:*', 'search'])).toBe(false);
    expect(isAllowed(exec('/usr/bin/ls'), ['tool:exec'])).toBe(false);
  });

  test('is not entered by what runs anything', () => {
    for (const program of [
      '/bin/sh',
      '/usr/bin/bash',
      '/usr/bin/env',
      '/usr/bin/python3.11',
      '/usr/local/bin/node',
    ])
      expect(allowPattern(exec(program, '-c', 'x'))).toHaveProperty('refusal');
    expect(allowPattern(exec('/usr/bin/wc', '-l'))).toEqual({pattern: '/usr/bin/wc'});
    expect(allowPattern({tool: 'search'})).toEqual({pattern: 'tool:search'});
  });

  test('a program with characters of globs in its name allows itself alone', () => {
    const allowed = allowPattern(exec('/opt/a*b[1]/run'));
    const pattern = 'pattern' in allowed ? allowed.pattern : '';
    expect(isAllowed(exec('/opt/a*b[1]/run'), [pattern])).toBe(true);
    expect(isAllowed(exec('/opt/aXb1/run'), [pattern])).toBe(false);
  });

  test('follows links: another name for a shell is a shell', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'by-allow-'));
    await symlink('/bin/sh', join(folder, 'harmless'));
    await writeFile(join(folder, 'not-a-program'), '');
    try {
      const found = await resolveProgram('harmless', folder, folder);
      expect(allowPattern(exec(found))).toHaveProperty('refusal');
      expect(await resolveProgram('./harmless', folder, '')).toBe(found);
      await expect(resolveProgram('not-a-program', folder, folder)).rejects.toMatchObject({
        code: 'NOT_FOUND',
      });
      await expect(resolveProgram('harmless', folder, '/usr/bin')).rejects.toMatchObject({code: 'NOT_FOUND'});
    } finally {
      await rm(folder, {recursive: true});
    }
  });
});

describe('an answer binds', () => {
  const hash = subjectHash(exec('/usr/bin/git', 'push'), caller);
  test('every word, the folder, the names of the environment, the agent and the session', () => {
    expect(subjectHash(exec('/usr/bin/git', 'push'), {...caller})).toBe(hash);
    for (const other of [
      subjectHash(exec('/usr/bin/git', 'push', '-f'), caller),
      subjectHash({...exec('/usr/bin/git', 'push'), cwd: '/x'}, caller),
      subjectHash({...exec('/usr/bin/git', 'push'), envKeys: ['A']}, caller),
      subjectHash(exec('/usr/bin/git', 'push'), {...caller, agentType: 'b'}),
      subjectHash(exec('/usr/bin/git', 'push'), {...caller, sessionId: 't'}),
    ])
      expect(other).not.toBe(hash);
  });

  test('a tool’s input, in whatever order its keys come', () => {
    expect(argsHash({a: 1, b: [1, {c: null}]})).toBe(argsHash({b: [1, {c: null}], a: 1}));
    expect(argsHash({a: 1})).not.toBe(argsHash({a: '1'}));
    expect(argsHash(undefined)).toBe(argsHash(null));
  });
});

describe('what a policy is worth', () => {
  const whole = {
    sandbox: {isolation: 'bubblewrap', network: true, workspace: true, limits: true, resources: false},
  } as const;
  const grouped = {sandbox: {...whole.sandbox, resources: true}};
  const bare = {sandbox: undefined};

  test('on a worker of another SDK: nothing is enforced', () => {
    const {retry, ...others} = resolveEnforcement(undefined);
    expect(retry).toBe('enforced');
    expect(Object.values(others)).not.toContain('enforced');
  });

  test('on ours: what it has shown; a runtime or a GPU never', () => {
    expect(resolveEnforcement(whole)).toMatchObject({
      ...{network_enabled: 'enforced', workspace_access: 'enforced', security: 'enforced'},
      ...{runtime_type: 'unsupported', resources: 'advisory', interactive: 'enforced'},
    });
    expect(resolveEnforcement(bare)).toMatchObject({
      ...{
        network_enabled: 'advisory',
        workspace_access: 'advisory',
        security: 'enforced',
        host: 'unsupported',
      },
    });
  });

  test('resources are worth what groups of the kernel hold; a GPU is none of them', () => {
    expect(resolveEnforcement(grouped).resources).toBe('enforced');
    expect(resolveEnforcement(grouped, {gpuCount: 0}).resources).toBe('enforced');
    expect(resolveEnforcement(grouped, {gpuCount: 1}).resources).toBe('unsupported');
    expect(unenforceable(['resources'], [grouped])).toEqual([]);
    expect(unenforceable(['resources'], [grouped, whole])).toEqual(['resources']);
    expect(unenforceable(['resources'], [grouped], {gpuCount: 1})).toEqual(['resources']);
  });

  test('what is required must hold on every worker that may take the command', () => {
    expect(unenforceable(['network_enabled'], [whole])).toEqual([]);
    expect(unenforceable(['network_enabled', 'ask'], [whole, bare])).toEqual(['network_enabled']);
    expect(unenforceable(['ask'], [whole, undefined])).toEqual(['ask']);
    expect(unenforceable(['ask'], [])).toEqual(['ask']);
    expect(unenforceable([], [])).toEqual([]);
  });
});
