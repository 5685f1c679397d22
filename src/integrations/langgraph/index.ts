/** by-toolkit/langgraph: graphs as durable agents, agents as tools of graphs, and checkpoints in Redis. */
export {langGraphAgent, type LangGraphAgent, type RunnableGraph} from './agent.js';
export {agentTool, callAgent, type AgentTool} from './agent-tool.js';
export {checkpointer, StorageCheckpointer} from './checkpointer.js';
