/** A client that speaks in messages (BaiYing) where {@link GatewayClient} speaks in wire content: spec §8.6. */
import type {SendRequest, SendResult} from '../availability/send.js';
import type {Content} from '../protocol/commands.js';
import {encodeContent, type Message} from '../protocol/content.js';
import {openStore, type StoreOptions} from '../store/store.js';
import {GatewayClient, type ClientOptions} from './client.js';
import type {ReplyRequest, ReplyResult} from '../availability/reply.js';

/** A message, several, or content as it goes on the wire. */
export type ByaiContent = Content | Message | readonly Message[];

type InMessages<T> = Omit<T, 'content'> & {readonly content: ByaiContent};

export class ByaiGatewayClient extends GatewayClient {
  /** The same connections, on behalf of one user; closing either closes both. */
  override forUser(userCode: string): ByaiGatewayClient {
    return new ByaiGatewayClient(this.store, {...this.options, userCode});
  }

  /** As {@link GatewayClient.send}; a message goes as a list of one. */
  override send(request: InMessages<SendRequest>): Promise<SendResult> {
    return super.send({...request, content: byaiContent(request.content)});
  }

  /** As {@link GatewayClient.reply}. */
  override reply(
    request: Omit<ReplyRequest, 'content'> & {readonly content?: ByaiContent},
  ): Promise<ReplyResult> {
    const {content, ...rest} = request;
    return super.reply(content === undefined ? rest : {...rest, content: byaiContent(content)});
  }
}

/** Connects with the first call. */
export function createByaiClient(options: StoreOptions & ClientOptions): ByaiGatewayClient {
  return new ByaiGatewayClient(openStore(options), options);
}

/** What commands carry of it. */
export const byaiContent = (content: ByaiContent): Content => encodeContent(content) as Content;
