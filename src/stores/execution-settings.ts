/**
 * How a run was started: Perstack's run setting with its providers, experts and skills, and the schema that stored ones
 * are checked against. As with the other records unknown fields are kept.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import type { ExpertRef } from "./execution-schema.ts"

const text = Schema.String
const texts = Schema.mutable(Schema.Array(Schema.String))

/** The providers whose key is one text. */
export type ApiKeyProvider = "anthropic" | "google" | "openai" | "azure-openai" | "deepseek"

/** Where a provider is asked, and with what. */
export interface ProviderAddress {
  /** Its URL, where it is not the usual one. */
  baseUrl?: string | undefined
  /** Sent with every request. */
  headers?: Record<string, string> | undefined
}

/** Which model provider a run uses, and with which key. What else a provider takes stands beside these. */
export type ProviderConfig =
  | ProviderAddress & { providerName: ApiKeyProvider; apiKey: string }
  | ProviderAddress & { providerName: "ollama" | "google-vertex" }
  | {
    providerName: "amazon-bedrock"
    accessKeyId: string
    secretAccessKey: string
    region: string
    sessionToken?: string | undefined
  }

const address = {
  baseUrl: Schema.optional(text),
  headers: Schema.optional(Schema.Record(Schema.String, Schema.String)),
}

const providerConfigSchema: Schema.Codec<ProviderConfig> = Schema.Union([
  Schema.Struct({
    providerName: Schema.Literals(["anthropic", "google", "openai", "azure-openai", "deepseek"]),
    apiKey: text,
    ...address,
  }),
  Schema.Struct({ providerName: Schema.Literals(["ollama", "google-vertex"]), ...address }),
  Schema.Struct({
    providerName: Schema.Literal("amazon-bedrock"),
    accessKeyId: text,
    secretAccessKey: text,
    region: text,
    sessionToken: Schema.optional(text),
  }),
])

/** What every skill has. */
export interface SkillBase<Type extends string> {
  /** What kind of skill it is. */
  type: Type
  /** Its name, the same as its key among the expert's skills. */
  name: string
  /** What it is good for. */
  description?: string | undefined
  /** How it is to be used. */
  rule?: string | undefined
}

/** Which tools of a server are used. */
export interface ToolChoice {
  /** Only these, where it is not empty. */
  pick: Array<string>
  /** Not these. */
  omit: Array<string>
}

/** Tools of a program that is started. */
export interface McpStdioSkill extends SkillBase<"mcpStdioSkill">, ToolChoice {
  /** The program. */
  command: string
  /** The package that it runs. */
  packageName?: string | undefined
  /** Its arguments. */
  args: Array<string>
  /** Variables that it needs. */
  requiredEnv: Array<string>
  /** Start it when it is first used. */
  lazyInit: boolean
}

/** Tools of a server. */
export interface McpSseSkill extends SkillBase<"mcpSseSkill">, ToolChoice {
  /** Where it is. */
  endpoint: string
}

/** A tool that a person is. */
export interface InteractiveTool {
  /** Its name. */
  name: string
  /** What it is good for. */
  description?: string | undefined
  /** The JSON Schema of what it is given, as text. */
  inputJsonSchema: string
}

/** Tools that a person is. */
export interface InteractiveSkill extends SkillBase<"interactiveSkill"> {
  /** The tools by name. */
  tools: Record<string, InteractiveTool>
}

/** A skill of an expert. */
export type Skill = McpStdioSkill | McpSseSkill | InteractiveSkill

const skill = <const Type extends string>(type: Type) => ({
  type: Schema.Literal(type),
  name: text,
  description: Schema.optional(text),
  rule: Schema.optional(text),
})

const skillSchema: Schema.Codec<Skill> = Schema.Union([
  Schema.Struct({
    ...skill("mcpStdioSkill"),
    pick: texts,
    omit: texts,
    command: text,
    packageName: Schema.optional(text),
    args: texts,
    requiredEnv: texts,
    lazyInit: Schema.Boolean,
  }),
  Schema.Struct({ ...skill("mcpSseSkill"), pick: texts, omit: texts, endpoint: text }),
  Schema.Struct({
    ...skill("interactiveSkill"),
    tools: Schema.Record(
      Schema.String,
      Schema.Struct({ name: text, description: Schema.optional(text), inputJsonSchema: text }),
    ),
  }),
])

/** An expert as a run uses it. */
export interface Expert extends ExpertRef {
  /** What it is told to be. */
  instruction: string
  /** What it is good for. */
  description?: string | undefined
  /** Its skills by name. */
  skills: Record<string, Skill>
  /** The experts it may hand work to. */
  delegates: Array<string>
  /** Words to find it by. */
  tags: Array<string>
}

const expertSchema: Schema.Codec<Expert> = Schema.Struct({
  key: text,
  name: text,
  version: text,
  instruction: text,
  description: Schema.optional(text),
  skills: Schema.Record(Schema.String, skillSchema),
  delegates: texts,
  tags: texts,
})

/** How long a model may think. */
export type ReasoningBudget = "none" | "minimal" | "low" | "medium" | "high" | number

/**
 * How a run was started. **It holds secrets**: the provider's key, and variables of the process; the option `redact`
 * of the store keeps them out of what is stored.
 */
export interface RunSetting {
  /** The model. */
  model: string
  /** Its provider. */
  providerConfig: ProviderConfig
  /** Its job. */
  jobId: string
  /** Names the run; one segment of a key. */
  runId: string
  /** The expert. */
  expertKey: string
  /** What it was asked. */
  input: {
    text?: string | undefined
    interactiveToolCallResult?:
      | { toolCallId: string; toolName: string; skillName: string; text: string }
      | undefined
  }
  /** The experts by key. */
  experts: Record<string, Expert>
  /** How long the model may think; `"low"` where the stored setting does not say. */
  reasoningBudget: ReasoningBudget
  /** Most steps; 100 where the stored setting does not say. */
  maxSteps: number
  /** How often a step is tried again. */
  maxRetries: number
  /** For how long a step is waited, in milliseconds. */
  timeout: number
  /** When it was begun, in milliseconds since 1970. */
  startedAt: number
  /** When it was last taken up, likewise. */
  updatedAt: number
  /** Where Perstack's service is. */
  perstackApiBaseUrl: string
  /** The key of that service. */
  perstackApiKey?: string | undefined
  /** How base skills are started. */
  perstackBaseSkillCommand?: Array<string> | undefined
  /** Variables for the skills. */
  env: Record<string, string>
  /** Through which proxy requests go. */
  proxyUrl?: string | undefined
  /** Say more. */
  verbose?: boolean | undefined
  /** Fields whose secrets were kept out when the setting was stored, such as `"providerConfig.apiKey"`. */
  redacted?: Array<string> | undefined
}

/** A run setting as it is stored: some fields have a default. */
export interface StoredRunSetting extends Omit<RunSetting, "reasoningBudget" | "maxSteps"> {
  /** How long the model may think. */
  reasoningBudget?: ReasoningBudget | undefined
  /** Most steps. */
  maxSteps?: number | undefined
}

const NotNegative: Schema.Codec<number> = Schema.Finite.pipe(Schema.check(Schema.isGreaterThanOrEqualTo(0)))

/** Checks a {@link StoredRunSetting}. */
export const RunSettingSchema: Schema.Codec<StoredRunSetting> = Schema.Struct({
  model: text,
  providerConfig: providerConfigSchema,
  jobId: text,
  runId: text,
  expertKey: text,
  input: Schema.Struct({
    text: Schema.optional(text),
    interactiveToolCallResult: Schema.optional(
      Schema.Struct({ toolCallId: text, toolName: text, skillName: text, text }),
    ),
  }),
  experts: Schema.Record(Schema.String, expertSchema),
  reasoningBudget: Schema.optional(
    Schema.Union([Schema.Literals(["none", "minimal", "low", "medium", "high"]), NotNegative]),
  ),
  maxSteps: Schema.optional(Schema.Finite),
  maxRetries: NotNegative,
  timeout: NotNegative,
  startedAt: Schema.Finite,
  updatedAt: Schema.Finite,
  perstackApiBaseUrl: text,
  perstackApiKey: Schema.optional(text),
  perstackBaseSkillCommand: Schema.optional(texts),
  env: Schema.Record(Schema.String, Schema.String),
  proxyUrl: Schema.optional(text),
  verbose: Schema.optional(Schema.Boolean),
  redacted: Schema.optional(texts),
})
