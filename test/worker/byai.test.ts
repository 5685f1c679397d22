/** Messages (BaiYing) in place of wire content, from client to worker and back. */
import {expect, test} from 'vitest';
import {ByaiGatewayClient} from '../../src/client/byai-client.js';
import {silentLogger} from '../../src/log.js';
import type {Message} from '../../src/protocol/content.js';
import {findExecution} from '../../src/store/executions.js';
import {ByaiWorker, type ByaiCommand, type ByaiContext} from '../../src/worker/byai-worker.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachStore, until} from '../support/stores.js';

const isMessage = (value: unknown): value is Message =>
  typeof value === 'object' && value !== null && 'role' in value;

describeEachStore('a ByaiWorker', at => {
  test('is given messages and answers with them, also those of agents it calls', async () => {
    const store = at.open();
    const seen: unknown[] = [];
    class Looker extends ByaiWorker {
      getAgentTypes() {
        return ['looker'];
      }
      processMessage({content}: ByaiCommand): Message {
        seen.push(content);
        return {role: 'assistant', content: 'a cat'};
      }
    }
    class Front extends ByaiWorker {
      getAgentTypes() {
        return ['front'];
      }
      async processMessage(command: ByaiCommand, ctx: ByaiContext): Promise<unknown> {
        if (command.action === 'ASK_AGENT')
          return ctx.callAgent({agentType: 'looker', content: command.content});
        seen.push(command.content);
        const {content} = isMessage(command.content) ? command.content : {content: '?'};
        return {
          content: {
            role: 'assistant',
            content: `I see ${typeof content === 'string' ? content : content.text}`,
          },
        };
      }
    }
    const worker = await startWorker(store, {agents: [new Front(), new Looker()], log: silentLogger});
    at.cleanup(() => worker.stop({drainMs: 0}));
    const file = {fileId: 7, fileUrl: 'https://x/y.png', fileType: 'image', fileName: 'y.png'};
    const message: Message = {role: 'user', content: {text: 'look', files: [file], resources: []}};
    const sent = await new ByaiGatewayClient(store).send({agentType: 'front', content: message});
    await until(async () => {
      const record = await findExecution(store, sent.sessionId, sent.executionId);
      return record?.status === 'COMPLETED';
    });
    expect(seen).toEqual([message, {role: 'assistant', content: 'a cat'}]);
    const last = await at.redis().xrevrange(store.keys.sessionDataStream(sent.sessionId), '+', '-');
    expect(JSON.stringify(last)).not.toContain('[object');
  });
});
