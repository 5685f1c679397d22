/** Where traces go: flags, the SDKs' variables (spec §9.4), the project's config. Nowhere, if nothing says so. */
import {z} from 'zod';
import {ByError} from '../errors.js';

export const TracingConfig = z.strictObject({
  /** Write the SDKs' records into Redis. */
  redis: z.boolean().optional(),
  /** Send spans over OTLP; needs the packages of OpenTelemetry. */
  otlp: z
    .strictObject({
      /** `https://host:4318`, with a path where the backend has one. Without it OTEL_EXPORTER_OTLP_ENDPOINT says. */
      endpoint: z.string().min(1).optional(),
      /** Secrets belong in OTEL_EXPORTER_OTLP_HEADERS. */
      headers: z.record(z.string(), z.string()).optional(),
      protocol: z.literal(['http/json', 'http/protobuf']).optional(),
      /** Default `by-toolkit`. */
      serviceName: z.string().min(1).optional(),
    })
    .optional(),
  /** The share of traces that is kept, from 0 to 1. Default 1. */
  sampleRate: z.number().min(0).max(1).optional(),
  /** Inputs and outputs too. Default false. */
  content: z.boolean().optional(),
});
export type TracingConfig = z.output<typeof TracingConfig>;

export interface TracingSettings {
  /** Undefined: nothing is written into Redis. */
  readonly redis?: {readonly ttlS: number};
  readonly otlp?: NonNullable<TracingConfig['otlp']>;
  readonly sampleRate: number;
  readonly content: boolean;
}

type Env = Readonly<Record<string, string | undefined>>;

/**
 * @param redisFlag `--redis-traces`.
 * @throws {ByError} INVALID_CONFIG for a variable that says nothing that can be used.
 */
export function resolveTracing(
  env: Env,
  config: TracingConfig | undefined,
  redisFlag: boolean,
): TracingSettings {
  const sampleRate = numberFrom(env, 'BY_FRAMEWORK_TRACE_SAMPLE_RATE', 0, 1) ?? config?.sampleRate ?? 1;
  const ttlS = numberFrom(env, 'BY_FRAMEWORK_TRACE_TTL_SECONDS', 1, 86_400) ?? 900;
  const common = {sampleRate, content: config?.content ?? false};
  if (switchFrom(env, 'BY_FRAMEWORK_OBSERVABILITY_ENABLED') === false) return common;
  const redis = redisFlag || (switchFrom(env, 'BY_FRAMEWORK_TRACE_REDIS_ENABLED') ?? config?.redis ?? false);
  const isOtlpOn = switchFrom(env, 'BY_FRAMEWORK_OTEL_ENABLED') ?? config?.otlp !== undefined;
  return {
    ...common,
    ...(redis ? {redis: {ttlS: Math.floor(ttlS)}} : {}),
    ...(isOtlpOn ? {otlp: config?.otlp ?? {}} : {}),
  };
}

/** As the SDKs read a switch; anything else is as if it was not set. */
function switchFrom(env: Env, name: string): boolean | undefined {
  const text = (env[name] ?? '').trim().toLowerCase();
  if (['1', 'true', 'yes', 'on', 'enabled'].includes(text)) return true;
  if (['0', 'false', 'no', 'off', 'disabled'].includes(text)) return false;
  return undefined;
}

function numberFrom(env: Env, name: string, least: number, most: number): number | undefined {
  const text = env[name];
  if (!text) return undefined;
  const value = Number(text);
  if (value >= least && value <= most) return value;
  throw new ByError('INVALID_CONFIG', `${name} is "${text.slice(0, 40)}".`, {
    hint: `Set it to a number from ${least} to ${most}.`,
  });
}
