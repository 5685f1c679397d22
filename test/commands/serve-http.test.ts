/** `by serve --http` as it is started. */
import {expect, test} from 'vitest';
import {describeEachServer} from '../support/stores.js';
import {runBy, startBy} from './run-by.js';

describeEachServer('by serve --http', at => {
  test('serves alone until a signal, in its workspace, and never says its token', async () => {
    const token = 'not-to-be-said-to-anybody';
    const workspace = `w${Math.random().toString(36).slice(2, 10)}`;
    const child = startBy(['serve', '--http', '0', '--roles', 'none', '--workspace', workspace], {
      env: {BY_REDIS_URL: at.url(), BY_SERVE_TOKEN: token},
    });
    at.cleanup(() => void child.kill('SIGKILL'));
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    const url = await new Promise<string>(done => {
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        const found = /http:\/\/\S+/.exec(said);
        if (found) done(found[0]);
      });
    });
    const headers = {authorization: `Bearer ${token}`, 'content-type': 'application/json'};
    expect((await fetch(`${url}/v1/tasks`)).status).toBe(401);
    const submitted = await fetch(`${url}/v1/tasks`, {
      ...{method: 'POST', headers, body: JSON.stringify({agent_type: 'nobody', message: 'hi'})},
    });
    const {task} = (await submitted.json()) as {task: {task_id: string; workspace: string}};
    expect(task.workspace).toBe(workspace);
    // A stream that is open must not hold up the end.
    const stream = await fetch(`${url}/v1/tasks/${task.task_id}/events`, {headers});
    const told = stream.text();
    child.kill('SIGTERM');
    expect(await new Promise(done => child.once('close', done))).toBe(0);
    expect(await told).toContain('event: state');
    expect(said).not.toContain(token);
  });

  test.for([
    [['--http', '0.0.0.0:0'], 2, 'Everybody who reaches'],
    [['--http', 'x:y:z'], 2, 'no address to listen on'],
    [['--http', '0', '--token-file', '/does/not/exist'], 2, 'can not be read'],
    [['--roles', 'none'], 2, 'Without roles there is nothing to do'],
    [['--roles', 'none,sweeper', '--http', '0'], 2, 'There is no role "none"'],
    [['--token-file', 'x'], 2, '--http'],
  ] as const)('serve %s is refused', async ([args, code, text]) => {
    const ran = await runBy(['serve', ...args], {env: {BY_REDIS_URL: at.url()}});
    expect(ran.stderr).toContain(text);
    expect(ran.code).toBe(code);
  });
});
