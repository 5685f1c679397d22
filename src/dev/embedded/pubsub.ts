/** Channels: who listens, and handing messages on. */
import type {Args, Client} from './client.js';
import {globMatcher} from './glob.js';
import {NO_REPLY, PushReply, type Reply} from './reply.js';
import type {Store} from './store.js';

/** All subscriptions of a store. Channels are not tied to a database. */
export class PubSub {
  private readonly channels = new Map<string, Set<Client>>();
  private readonly patterns = new Map<
    string,
    {matches: (channel: string) => boolean; clients: Set<Client>}
  >();

  subscribe(client: Client, channel: string): void {
    client.channels.add(channel);
    const listeners = this.channels.get(channel);
    if (listeners === undefined) this.channels.set(channel, new Set([client]));
    else listeners.add(client);
  }

  unsubscribe(client: Client, channel: string): void {
    client.channels.delete(channel);
    const listeners = this.channels.get(channel);
    listeners?.delete(client);
    if (listeners?.size === 0) this.channels.delete(channel);
  }

  subscribePattern(client: Client, pattern: string): void {
    client.patterns.add(pattern);
    const listening = this.patterns.get(pattern);
    if (listening === undefined) {
      this.patterns.set(pattern, {matches: globMatcher(pattern), clients: new Set([client])});
    } else {
      listening.clients.add(client);
    }
  }

  unsubscribePattern(client: Client, pattern: string): void {
    client.patterns.delete(pattern);
    const listening = this.patterns.get(pattern);
    listening?.clients.delete(client);
    if (listening?.clients.size === 0) this.patterns.delete(pattern);
  }

  forget(client: Client): void {
    for (const channel of [...client.channels]) this.unsubscribe(client, channel);
    for (const pattern of [...client.patterns]) this.unsubscribePattern(client, pattern);
  }

  /** @returns How many listeners got the message. */
  publish(channel: string, message: string): number {
    let received = 0;
    for (const client of this.channels.get(channel) ?? []) {
      client.send(new PushReply(['message', channel, message]));
      received++;
    }
    for (const [pattern, {matches, clients}] of this.patterns) {
      if (!matches(channel)) continue;
      for (const client of clients) {
        client.send(new PushReply(['pmessage', pattern, channel, message]));
        received++;
      }
    }
    return received;
  }

  channelsMatching(pattern: string): string[] {
    return [...this.channels.keys()].filter(globMatcher(pattern));
  }

  listeners(channel: string): number {
    return this.channels.get(channel)?.size ?? 0;
  }

  get patternCount(): number {
    return this.patterns.size;
  }

  get channelCount(): number {
    return this.channels.size;
  }
}

const subscriptions = (client: Client) => client.channels.size + client.patterns.size;

export function subscribe(client: Client, args: Args, store: Store): Reply {
  for (const channel of args.slice(1)) {
    store.pubsub.subscribe(client, channel);
    client.send(new PushReply(['subscribe', channel, subscriptions(client)]));
  }
  return NO_REPLY;
}

export function psubscribe(client: Client, args: Args, store: Store): Reply {
  for (const pattern of args.slice(1)) {
    store.pubsub.subscribePattern(client, pattern);
    client.send(new PushReply(['psubscribe', pattern, subscriptions(client)]));
  }
  return NO_REPLY;
}

export function unsubscribe(client: Client, args: Args, store: Store): Reply {
  const channels = args.length > 1 ? args.slice(1) : [...client.channels];
  for (const channel of channels) {
    store.pubsub.unsubscribe(client, channel);
    client.send(new PushReply(['unsubscribe', channel, subscriptions(client)]));
  }
  if (channels.length === 0) client.send(new PushReply(['unsubscribe', null, subscriptions(client)]));
  return NO_REPLY;
}

export function punsubscribe(client: Client, args: Args, store: Store): Reply {
  const patterns = args.length > 1 ? args.slice(1) : [...client.patterns];
  for (const pattern of patterns) {
    store.pubsub.unsubscribePattern(client, pattern);
    client.send(new PushReply(['punsubscribe', pattern, subscriptions(client)]));
  }
  if (patterns.length === 0) client.send(new PushReply(['punsubscribe', null, subscriptions(client)]));
  return NO_REPLY;
}

export function publish(_client: Client, [, channel, message]: Args, store: Store): Reply {
  return store.pubsub.publish(channel, message);
}

export function pubsubChannels(_client: Client, args: Args, store: Store): Reply {
  return store.pubsub.channelsMatching(args.length > 2 ? args[2] : '*');
}

export function pubsubNumSub(_client: Client, args: Args, store: Store): Reply {
  return args.slice(2).flatMap(channel => [channel, store.pubsub.listeners(channel)]);
}

export function pubsubNumPat(_client: Client, _args: Args, store: Store): Reply {
  return store.pubsub.patternCount;
}
