import {defineConfig} from 'by-toolkit';

export default defineConfig({
  // In a project of yours: the path of this plugin, or its package.
  plugins: ['./src/plugin.ts'],
  pluginSettings: {units: 'metric'},
  workers: [{entry: './src/worker.ts', agentTypes: ['{{agentType}}']}],
});
