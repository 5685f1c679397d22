import {defineConfig} from 'by-toolkit';

export default defineConfig({
  workers: [{entry: './src/worker.ts', agentTypes: ['{{agentType}}']}],
});
