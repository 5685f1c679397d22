import {resolve} from 'node:path';
import {defineConfig} from 'vitest/config';

export default defineConfig({
  oxc: {jsx: {runtime: 'automatic'}},
  // The examples import the package by its name: here that is the sources.
  resolve: {
    alias: [
      {find: /^by-toolkit$/, replacement: resolve(import.meta.dirname, 'src/index.ts')},
      {
        find: /^by-toolkit\/(langgraph|ai-sdk|mcp|otel|s3)$/,
        replacement: resolve(import.meta.dirname, 'src/integrations/$1/index.ts'),
      },
      {find: /^by-toolkit\/postgres$/, replacement: resolve(import.meta.dirname, 'src/history/postgres.ts')},
    ],
  },
  test: {
    // For a machine that others use too: what takes 15 s here has taken 29 s there. Those that take longer say so.
    testTimeout: 90_000,
    hookTimeout: 120_000,
    // Two cores: more workers than that only makes servers and clients wait for each other.
    maxWorkers: 2,
    globalSetup: ['test/support/global-setup.ts'],
    projects: [
      {extends: true, test: {name: 'all', include: ['test/**/*.test.ts', 'test/**/*.test.tsx']}},
      // Once more, with every part under the Redis user of its role: test/support/roles.ts.
      {
        extends: true,
        test: {
          name: 'roles',
          include: ['test/{availability,client,faults,orchestration,registry,store,worker}/**/*.test.ts'],
          // Those that start servers of their own.
          exclude: ['test/store/{cluster,durability}.test.ts', 'test/faults/{server,failover}.test.ts'],
          setupFiles: ['test/support/roles-setup.ts'],
        },
      },
    ],
  },
});
