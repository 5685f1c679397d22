/** by-toolkit: agents on Redis. What a program may use, name by name. */
export {defineAgent, GatewayWorker, type Agent, type AgentDefinition, type Ask} from './worker/agent.js';
export type {AgentContext, TurnContext} from './worker/context.js';
export type {
  Call,
  CallAllOptions,
  CallAnswer,
  CallOptions,
  DurableContext,
  EventsOptions,
  JoinPolicy,
  Question,
  Settled,
  StepOptions,
  StepTry,
} from './worker/durable/context.js';
export {CallFailed, StepFailed} from './worker/durable/failures.js';
export type {
  AgentCall,
  CallReceipt,
  GroupOptions,
  GroupReceipt,
  GroupTask,
  MemberResult,
} from './worker/calls.js';
export type {RestPolicy} from './protocol/task-group.js';
export type {ExhaustReport} from './worker/status-report.js';
export type {HeaderLike} from './registry/recovery-time.js';
export type {SessionHistory} from './worker/turn-history.js';
export {
  HISTORY_KEY,
  HISTORY_ROLES,
  type HistoryBackend,
  type HistoryMessage,
  type HistoryRole,
  type HistorySession,
} from './history/backend.js';
export {memoryHistory, type MemoryHistoryOptions} from './history/memory.js';
export {redisHistory, type RedisHistoryOptions} from './history/redis.js';
export type {
  FileContent,
  FileInfo,
  FilePage,
  FilesOwner,
  FileStore,
  SessionFiles,
  ListOptions,
  PutOptions,
} from './files/file-store.js';
export {localFiles} from './files/local-files.js';
export {withQuota, type FileQuota} from './files/quota.js';
export type {ModelCall, ModelUsage} from './worker/model-span.js';
export type {EndedExecution} from './observe/framework-metrics.js';
export {FrameworkMetrics} from './observe/framework-metrics.js';
export type {RedisTraceOptions} from './observe/redis-tracer.js';
export type {LiveSpan, SpanEnd, SpanParent, SpanStart, Tracer} from './protocol/tracer.js';
export type {Workspace, WorkspaceEntry} from './worker/workspace.js';
export type {RetryOptions} from './worker/retry.js';
export {startWorker, type WorkerEnd, type WorkerHandle, type WorkerOptions} from './worker/runner.js';
export {
  definePlugin,
  type CallFacts,
  type HookCall,
  type HookContext,
  type HookName,
  type Plugin,
  type PluginHooks,
  type PluginManifest,
  type PluginWorker,
  type RegisterContext,
  type ReloadContext,
  type ReturnFacts,
  type TurnFailure,
  type TurnResult,
} from './plugins/plugin.js';
export {
  defineTool,
  type AgentConfig,
  type Callback,
  type CallbackName,
  type ConflictRule,
  type LoadedConfig,
  type Tool,
  type ToolContext,
} from './plugins/agent-config.js';
export {renderPrompt, type Prompt, type PromptTemplate, type PromptVariables} from './plugins/prompt.js';
export type {PluginConfigurator, PluginSource} from './plugins/load-plugins.js';
export type {ToolDescription, TurnConfig, TurnTools} from './plugins/turn-config.js';
export type {InputSchema, JsonSchema} from './protocol/tool-schema.js';

export {runWorker, type RunWorkerOptions} from './worker/run-worker.js';

export {createClient, GatewayClient, type ClientOptions} from './client/client.js';
export {ByaiGatewayClient, createByaiClient, type ByaiContent} from './client/byai-client.js';
export {ByaiContext, ByaiWorker, type ByaiCommand, type ByaiValue} from './worker/byai-worker.js';
export type {Interceptor, SendProgress, SendRequest, SendResult} from './availability/send.js';
export type {CancelRequest, CancelResult} from './availability/cancel.js';
export {followExecution, followToQuestion, type FollowExecution} from './client/follow-execution.js';
export type {OpenQuestion} from './availability/questions.js';
export type {ReloadRequestOptions} from './client/reload.js';
export type {ReplyRequest, ReplyResult} from './availability/reply.js';
export type {FollowOptions, SessionItem} from './store/data-streams.js';

export {startManager, type ManagerHandle, type ManagerOptions} from './availability/manager.js';
export type {CircuitRules} from './availability/circuits.js';
export type {ExecutionCircuitRules} from './store/execution-circuit.js';
export type {Provider, ProviderContext, ProviderDecision} from './availability/provider.js';
export {
  mockProvider,
  parseMockMode,
  type MockMode,
  type MockOptions,
  type MockStep,
} from './availability/mock-provider.js';
export {threadProvider, type ThreadProviderOptions} from './availability/thread-provider.js';
export type {CircuitOptions} from './availability/provider-circuit.js';
export {ProviderRunner, type ProviderRunOptions} from './availability/provider-runner.js';
export {checkProvider, type CheckProvider, type ProviderCheck} from './availability/check-provider.js';
export {choosingProvider, type ChosenProvider} from './availability/choose-provider.js';
export {
  dockerProvider,
  type DockerContainer,
  type DockerImage,
  type DockerProviderOptions,
} from './availability/docker-provider.js';
export {kubernetesProvider, type KubernetesProviderOptions} from './availability/kubernetes-provider.js';
export {kubernetesAccess, type KubernetesAccess, type KubernetesSources} from './config/kubeconfig.js';
export {ProcessPool, type ProcessPoolOptions, type StartCommand} from './availability/process-pool.js';
export {processProvider, type ProcessProviderOptions} from './availability/process-provider.js';

export {httpProvider, type HttpProviderOptions} from './availability/http-provider.js';
export {
  SeenNonces,
  verifyWakeupSignature,
  type VerifyWakeup,
  type WakeupVerdict,
} from './availability/wakeup-signature.js';

export {
  allowAgentType,
  deniedWorkers,
  denyAgentType,
  evictWorker,
  rejoinWorker,
  resumeWorker,
  suspendWorker,
  type AdminOptions,
  type AdminOutcome,
  type EvictOptions,
} from './store/worker-admin.js';
export {
  startHealthServer,
  type HealthAddress,
  type HealthPages,
  type HealthServer,
} from './observe/health-server.js';
export {WorkersWatch, type WorkerEvents} from './observe/worker-health.js';
export {
  ServiceRegistry,
  type RegisteredService,
  type ServiceRegistration,
  type ServiceRegistryOptions,
} from './registry/service-registry.js';
export {DiscoveryClient, type DiscoveryOptions} from './registry/discovery-client.js';
export {
  DiscoveryHttpClient,
  type DiscoveryHttpOptions,
  type HttpMethod,
  type ServiceRequest,
  type ServiceResponse,
} from './client/discovery-http-client.js';
export type {ServiceInstance} from './protocol/discovery.js';
export type {FoundInstance} from './store/services.js';
export {openStore, type Store, type StoreOptions} from './store/store.js';
export {defineConfig, type ProjectConfig} from './config/project.js';
export {ByError, type ErrorCode} from './errors.js';
export {createLogger, type LoggerOptions} from './json-log.js';
export {loggerTo, silentLogger, type Logger, type LogFields, type LogLevel, type LogSink} from './log.js';

export type {AskCommand, Command, Content, CustomCommand, ResumeCommand} from './protocol/commands.js';
export {eventKind, eventText, type DataEvent, type EventKind} from './protocol/events.js';
export type {ExecutionRecord} from './protocol/execution.js';
export type {RoutePolicy} from './protocol/routing.js';
export type {GroupPolicy} from './protocol/task-group.js';
export type {WakeupDecision, WakeupRequest} from './protocol/wakeup.js';
