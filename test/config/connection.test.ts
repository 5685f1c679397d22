import {describe, expect, test} from 'vitest';
import {resolveConnection} from '../../src/config/connection.js';

const from = (env: Record<string, string>, flagUrl?: string) => resolveConnection({env, flagUrl});

describe('where Redis is', () => {
  test('a list of Cluster nodes is used whole, implies key schema v2, and takes the credentials', () => {
    const env = {REDIS_CLUSTER_HOST: 'a:7001, b:7002,c', REDIS_USERNAME: 'me', REDIS_PASSWORD: 'p@ss'};
    expect(from(env)).toEqual({
      url: 'redis://me:p%40ss@a:7001',
      keySchema: 'v2',
      clusterNodes: ['a:7001', 'b:7002', 'c:6379'],
      limits: {},
      source: 'REDIS_CLUSTER_HOST',
    });
  });

  test('limits come from the environment, and must be numbers', () => {
    expect(from({BY_QUEUE_LIMIT: '10', BY_USER_LIMIT: '0'}).limits).toEqual({perAgentType: 10, perUser: 0});
    expect(() => from({BY_QUEUE_LIMIT: 'many'})).toThrow(/BY_QUEUE_LIMIT/);
  });

  test('the older list counts where the newer is empty', () => {
    expect(from({REDIS_CLUSTER_HOST: '', REDIS_CLUSTER_NODES: 'a:1'}).clusterNodes).toEqual(['a:1']);
  });

  test('a URL wins over a list, and a single mode turns it off', () => {
    const list = {REDIS_CLUSTER_HOST: 'a:1'};
    expect(from(list, 'redis://b:2/0')).toMatchObject({
      url: 'redis://b:2/0',
      clusterNodes: [],
      keySchema: 'v1',
    });
    expect(from({...list, REDIS_MODE: 'standalone', REDIS_HOST: 'c'})).toMatchObject({
      clusterNodes: [],
      source: 'REDIS_HOST',
    });
  });

  test('an explicit schema wins over what the list implies', () => {
    expect(from({REDIS_CLUSTER_HOST: 'a:1', REDIS_KEY_SCHEMA_VERSION: 'v1'}).keySchema).toBe('v1');
  });

  test('nodes that are no addresses are refused', () => {
    expect(() => from({REDIS_CLUSTER_HOST: 'not a host'})).toThrow(/REDIS_CLUSTER_HOST/);
  });
});
