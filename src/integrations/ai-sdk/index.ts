/** by-toolkit/ai-sdk: calls of models by the AI SDK in durable agents. */
export {modelLoop, type ModelLoop, type ModelLoopEnd} from './model-loop.js';
export {modelCall, type ModelAnswer, type ModelCall, type ToolCall} from './model-call.js';
export {aiTools} from './ai-tools.js';
export {agentAsTool, type AgentAsTool} from './agent-as-tool.js';
