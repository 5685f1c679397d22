/** Tools and programs under the policy of a run: run, refused, or kept waiting for a person. */
import {randomUUID} from 'node:crypto';
import {mkdtempSync, realpathSync, rmSync, symlinkSync, unlinkSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterAll, beforeAll, expect, test} from 'vitest';
import {newOrchestrationId} from '../../src/protocol/orchestration/ids.js';
import {normalizeRunExecutionPolicy, type PolicyRequest} from '../../src/protocol/orchestration/policy.js';
import {machineAbilities, NO_SANDBOX} from '../../src/sandbox/probe.js';
import {ToolGuard, type GuardFacts} from '../../src/sandbox/tool-guard.js';
import {
  allow,
  allowedPatterns,
  decideApproval,
  disallow,
  pendingApprovals,
  readApproval,
  settleApproval,
} from '../../src/store/approvals.js';
import {openWorkspace, type Workspace} from '../../src/store/orchestration.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const PROGRAM = realpathSync('/usr/bin/wc');
const maria = {by: 'maria'};

describeEachStore('a tool under a policy', at => {
  let folder: string;
  beforeAll(() => (folder = realpathSync(mkdtempSync(join(tmpdir(), 'by-guard-')))));
  afterAll(() => rmSync(folder, {recursive: true}));

  function guard(at: TestStore, policy: PolicyRequest | undefined, facts: Partial<GuardFacts> = {}) {
    const workspace = openWorkspace(at.open(), 'default');
    const [taskId, runId, attemptId] = [
      newOrchestrationId('task'),
      newOrchestrationId('run'),
      newOrchestrationId('attempt'),
    ];
    const asked: string[] = [];
    const made = new ToolGuard({
      ...{agentType: 'writer', sessionId: `s-${randomUUID()}`, workerId: 'w-1', turn: 'e@1'},
      signal: new AbortController().signal,
      abilities: machineAbilities,
      run: policy && {workspace, policy: normalizeRunExecutionPolicy(policy), taskId, runId, attemptId},
      folder: () => folder,
      asked: ({approvalId}) => {
        asked.push(approvalId);
        return Promise.resolve();
      },
      ...facts,
    });
    return {guard: made, workspace, asked, runId};
  }

  const waiting = async (workspace: Workspace) => {
    await until(async () => (await pendingApprovals(workspace)).length > 0);
    const [approval] = await pendingApprovals(workspace);
    if (approval === undefined) throw new Error('nothing waits');
    return approval;
  };
  const search = (tools: ToolGuard, args: unknown = {q: 'x'}) =>
    tools.call('search', args, () => Promise.resolve('found'));

  test('without a run is only called', async () => {
    const {guard: tools} = guard(at, undefined);
    expect(await search(tools)).toBe('found');
    expect(await tools.spawn(['wc', '-c'], {stdin: 'four'})).toMatchObject({code: 0, stdout: '4\n'});
  });

  test('is refused by deny, and by an allowlist it is not on', async () => {
    const {guard: none} = guard(at, {security: 'deny'});
    await expect(search(none)).rejects.toMatchObject({code: 'TOOL_DENIED', exitCode: 13});
    const {guard: listed, workspace} = guard(at, {security: 'allowlist'});
    await expect(search(listed)).rejects.toMatchObject({code: 'TOOL_DENIED'});
    await expect(listed.spawn(['wc'])).rejects.toMatchObject({code: 'TOOL_DENIED'});
    await allow(workspace, 'writer', 'tool:search', 'maria');
    await allow(workspace, 'writer', PROGRAM, 'maria');
    expect(await search(listed)).toBe('found');
    expect(await listed.spawn(['wc', '-c'])).toMatchObject({code: 0});
    expect(await disallow(workspace, 'writer', 'tool:search')).toBe(true);
    expect(await disallow(workspace, 'writer', 'tool:search')).toBe(false);
    await expect(search(listed)).rejects.toMatchObject({code: 'TOOL_DENIED'});
    await expect(allow(workspace, 'writer', '*', 'maria')).rejects.toMatchObject({code: 'INVALID_INPUT'});
  });

  test('waits for a person, and is called once it is allowed; the next time it asks again', async () => {
    const {guard: tools, workspace, asked, runId} = guard(at, {ask: 'on-miss'});
    const called = search(tools);
    const approval = await waiting(workspace);
    expect(asked).toEqual([approval.approvalId]);
    expect(approval).toMatchObject({kind: 'tool', tool: 'search', runId, workerId: 'w-1', summary: 'search'});
    await decideApproval(workspace, approval.approvalId, 'allow-once', maria);
    expect(await called).toBe('found');
    const again = search(tools);
    const second = await waiting(workspace);
    await decideApproval(workspace, second.approvalId, 'deny', {...maria, note: 'not now'});
    await expect(again).rejects.toMatchObject({code: 'APPROVAL_DENIED'});
    expect(await readApproval(workspace, second.approvalId)).toMatchObject({
      ...{state: 'denied', decidedBy: 'maria', note: 'not now'},
    });
  });

  test('that is always allowed asks no more, unless the policy always asks', async () => {
    const {guard: tools, workspace} = guard(at, {ask: 'on-miss'});
    const called = tools.spawn(['wc', '-c'], {stdin: 'abc'});
    const approval = await waiting(workspace);
    expect(approval).toMatchObject({tool: 'exec', argv: [PROGRAM, '-c'], cwd: folder, pattern: PROGRAM});
    await decideApproval(workspace, approval.approvalId, 'allow-always', maria);
    expect(await called).toMatchObject({stdout: '3\n'});
    expect(await allowedPatterns(workspace, 'writer')).toMatchObject([{pattern: PROGRAM, addedBy: 'maria'}]);
    expect(await tools.spawn(['wc', '-l'], {stdin: 'a\n'})).toMatchObject({stdout: '1\n'});
    const strict = new ToolGuard({
      ...{agentType: 'writer', sessionId: 's', workerId: 'w-1', turn: 'e@1'},
      signal: new AbortController().signal,
      ...{abilities: machineAbilities, folder: () => folder, asked: () => Promise.resolve(), approvalMs: 700},
      run: {
        ...{workspace, policy: normalizeRunExecutionPolicy({ask: 'always'})},
        ...{taskId: 't', runId: newOrchestrationId('run'), attemptId: 'a'},
      },
    });
    await expect(strict.spawn(['wc'])).rejects.toMatchObject({code: 'APPROVAL_EXPIRED'});
  });

  test('a shell is allowed once and never always', async () => {
    const {guard: tools, workspace} = guard(at, {ask: 'on-miss'});
    const called = tools.spawn(['sh', '-c', 'echo hi']);
    const approval = await waiting(workspace);
    await expect(decideApproval(workspace, approval.approvalId, 'allow-always', maria)).rejects.toMatchObject(
      {code: 'INVALID_INPUT'},
    );
    await decideApproval(workspace, approval.approvalId, 'allow-once', maria);
    expect(await called).toMatchObject({stdout: 'hi\n'});
  });

  test('of twenty decisions one counts, and the others hear which', async () => {
    const {guard: tools, workspace} = guard(at, {ask: 'on-miss'});
    const called = search(tools).catch((error: unknown) => error);
    const {approvalId} = await waiting(workspace);
    const decided = await Promise.allSettled(
      Array.from({length: 20}, (_, i) =>
        decideApproval(workspace, approvalId, i % 2 === 0 ? 'allow-once' : 'deny', {by: `p-${i}`}),
      ),
    );
    const won = decided.filter(({status}) => status === 'fulfilled');
    expect(won).toHaveLength(1);
    for (const each of decided) {
      if (each.status === 'rejected')
        expect(each.reason).toMatchObject({code: 'APPROVAL_ALREADY_DECIDED', exitCode: 11});
    }
    const approval = await readApproval(workspace, approvalId);
    const outcome = await called;
    if (approval?.state === 'denied') expect(outcome).toMatchObject({code: 'APPROVAL_DENIED'});
    else expect(outcome).toBe('found');
  });

  test('nobody decides: it is refused, or runs where the policy says so', async () => {
    const {guard: tools, workspace, asked} = guard(at, {ask: 'on-miss'}, {approvalMs: 600});
    await expect(search(tools)).rejects.toMatchObject({code: 'APPROVAL_EXPIRED'});
    const [approvalId = ''] = asked;
    await expect(decideApproval(workspace, approvalId, 'allow-once', maria)).rejects.toMatchObject({
      code: 'APPROVAL_EXPIRED',
    });
    expect(await pendingApprovals(workspace)).toEqual([]);
    const {guard: lenient} = guard(at, {ask: 'on-miss', askFallback: 'allow'}, {approvalMs: 600});
    expect(await search(lenient)).toBe('found');
  });

  test('the turn is stopped while it waits: the question is taken back', async () => {
    const stop = new AbortController();
    const {guard: tools, workspace} = guard(at, {ask: 'on-miss'}, {signal: stop.signal});
    const called = search(tools);
    const {approvalId} = await waiting(workspace);
    stop.abort(new Error('cancelled'));
    await expect(called).rejects.toThrow('cancelled');
    await until(async () => (await readApproval(workspace, approvalId))?.state === 'cancelled');
    expect(await settleApproval(workspace, approvalId, {state: 'denied'})).toMatchObject({isOurs: false});
  });

  test('a program that became another one while a person thought is not run', async () => {
    const link = join(folder, 'tool');
    symlinkSync(PROGRAM, link);
    const {guard: tools, workspace} = guard(at, {ask: 'always', security: 'full'});
    const called = tools.spawn([link]);
    const {approvalId, argv, pattern} = await waiting(workspace);
    expect([argv, pattern]).toEqual([[PROGRAM], PROGRAM]);
    unlinkSync(link);
    symlinkSync(realpathSync('/bin/sh'), link);
    await decideApproval(workspace, approvalId, 'allow-once', maria);
    await expect(called).rejects.toMatchObject({code: 'APPROVAL_SUBJECT_CHANGED'});
    unlinkSync(link);
  });

  test('what the policy requires and the machine has not is refused before anybody is asked', async () => {
    const {guard: tools, asked} = guard(
      at,
      {ask: 'always', networkEnabled: false, requireEnforcement: ['network_enabled']},
      {abilities: () => Promise.resolve(NO_SANDBOX)},
    );
    await expect(tools.spawn(['wc'])).rejects.toMatchObject({code: 'POLICY_UNENFORCEABLE'});
    expect(asked).toEqual([]);
  });

  test('the result says what held', async () => {
    const {guard: bare} = guard(
      at,
      {security: 'full', networkEnabled: false, workspaceAccess: 'ro'},
      {abilities: () => Promise.resolve(NO_SANDBOX)},
    );
    expect((await bare.spawn(['wc'])).enforced).toEqual({
      ...{network: false, workspace: false, resources: true},
    });
    const abilities = await machineAbilities();
    const {guard: held} = guard(at, {security: 'full', networkEnabled: false, workspaceAccess: 'ro'});
    expect((await held.spawn(['wc'])).enforced).toEqual({
      ...{network: abilities.network, workspace: abilities.workspace, resources: true},
    });
    const limits = {security: 'full', resources: {memoryBytes: 512 * 1024 * 1024}} as const;
    const {guard: limited} = guard(at, limits);
    expect((await limited.spawn(['wc'])).enforced.resources).toBe(abilities.resources);
    const {guard: strict} = guard(
      at,
      {...limits, requireEnforcement: ['resources']},
      {abilities: () => Promise.resolve({...abilities, resources: false})},
    );
    await expect(strict.spawn(['wc'])).rejects.toMatchObject({code: 'POLICY_UNENFORCEABLE'});
    await expect(held.spawn([])).rejects.toMatchObject({code: 'INVALID_INPUT'});
    await expect(held.spawn(['no-such-program'])).rejects.toMatchObject({code: 'NOT_FOUND'});
  });
});
