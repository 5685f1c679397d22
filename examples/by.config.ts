/** `by dev` in this folder runs all of the examples. */
import {defineConfig} from 'by-toolkit';

export default defineConfig({
  workers: [
    {entry: './pipeline.ts', agentTypes: ['editor', 'researcher', 'writer', 'critic']},
    {entry: './approval.ts', agentTypes: ['publisher']},
    {entry: './map-reduce.ts', agentTypes: ['word_census', 'word_counter']},
    {entry: './saga.ts', agentTypes: ['trip', 'cashier']},
    {entry: './graph.ts', agentTypes: ['essayist', 'expander']},
    {entry: './assistant.ts', agentTypes: ['assistant', 'opening_hours']},
    {entry: './chat.ts', agentTypes: ['chat', 'weather']},
    {entry: './remote-tools.ts', agentTypes: ['converter']},
    {entry: './translator.ts', agentTypes: ['translator'], plugins: ['./plugins']},
  ],
});
