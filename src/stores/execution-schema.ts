/**
 * What the execution store keeps of a run as it goes: jobs, checkpoints and events, in Perstack's shapes, and the schemas
 * that stored ones are checked against.
 *
 * The schemas only check, and a value is the JSON as it was stored: unknown fields are kept, at every depth and in
 * their order. What is written is checked as well, so that whatever is stored can be read again.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import {
  type ExpertMessage,
  type InstructionMessage,
  type Message,
  MessageSchema,
  type ToolCall,
  ToolCallSchema,
  type ToolMessage,
  type ToolResult,
  ToolResultSchema,
  type UserMessage,
} from "./execution-messages.ts"

const text = Schema.String
const list = <A>(item: Schema.Codec<A>): Schema.Codec<Array<A>> => Schema.mutable(Schema.Array(item))

/** Tokens that were used. */
export interface Usage {
  /** Sent to the model. */
  inputTokens: number
  /** Answered by the model. */
  outputTokens: number
  /** Of these, for thinking. */
  reasoningTokens: number
  /** All. */
  totalTokens: number
  /** Of those sent, what the provider had in its cache. */
  cachedInputTokens: number
}

const usageSchema: Schema.Codec<Usage> = Schema.Struct({
  inputTokens: Schema.Finite,
  outputTokens: Schema.Finite,
  reasoningTokens: Schema.Finite,
  totalTokens: Schema.Finite,
  cachedInputTokens: Schema.Finite,
})

/** How far a job is. */
export type JobStatus = "running" | "completed" | "stoppedByMaxSteps" | "stoppedByInteractiveTool" | "stoppedByError"

/** A job: what was asked of an expert, and all runs that work on it. */
export interface Job {
  /** Names the job; one segment of a key. */
  id: string
  /** How far it is. */
  status: JobStatus
  /** The expert that was asked. */
  coordinatorExpertKey: string
  /** Steps of all its runs. */
  totalSteps: number
  /** Most steps it may take. */
  maxSteps?: number | undefined
  /** Tokens of all its runs. */
  usage: Usage
  /** When it was begun, in milliseconds since 1970. */
  startedAt: number
  /** When it ended, likewise. */
  finishedAt?: number | undefined
}

/** Checks a {@link Job}. */
export const JobSchema: Schema.Codec<Job> = Schema.Struct({
  id: text,
  status: Schema.Literals([
    "running",
    "completed",
    "stoppedByMaxSteps",
    "stoppedByInteractiveTool",
    "stoppedByError",
  ]),
  coordinatorExpertKey: text,
  totalSteps: Schema.Finite,
  maxSteps: Schema.optional(Schema.Finite),
  usage: usageSchema,
  startedAt: Schema.Finite,
  finishedAt: Schema.optional(Schema.Finite),
})

/** Which expert. */
export interface ExpertRef {
  /** Its key. */
  key: string
  /** Its name. */
  name: string
  /** Its version. */
  version: string
}

const expertRefSchema: Schema.Codec<ExpertRef> = Schema.Struct({ key: text, name: text, version: text })

/** How far a run is. */
export type CheckpointStatus =
  | "init"
  | "proceeding"
  | "completed"
  | "stoppedByInteractiveTool"
  | "stoppedByDelegate"
  | "stoppedByExceededMaxSteps"
  | "stoppedByError"

/** A call that hands work to another expert. */
export interface DelegateTo {
  /** The other expert. */
  expert: ExpertRef
  /** The call. */
  toolCallId: string
  /** Its tool. */
  toolName: string
  /** The work. */
  query: string
}

/** The call that handed work to this expert. */
export interface DelegatedBy {
  /** The expert that did. */
  expert: ExpertRef
  /** The call. */
  toolCallId: string
  /** Its tool. */
  toolName: string
  /** That expert's checkpoint. */
  checkpointId: string
  /** That expert's run. */
  runId: string
}

/** Where a run was executed. */
export type RuntimeName = "local" | "cursor" | "claude-code" | "gemini" | "docker"

/** A checkpoint: everything that a run needs to go on from one of its steps. */
export interface Checkpoint {
  /** Names the checkpoint; one segment of a key. */
  id: string
  /** Its job. */
  jobId: string
  /** Its run. */
  runId: string
  /** How far the run is. */
  status: CheckpointStatus
  /** The step. */
  stepNumber: number
  /** What has been said. */
  messages: Array<Message>
  /** Who says it. */
  expert: ExpertRef
  /** Work that is handed to others. */
  delegateTo?: Array<DelegateTo> | undefined
  /** Who handed this work over. */
  delegatedBy?: DelegatedBy | undefined
  /** Tokens used so far. */
  usage: Usage
  /** Tokens the model can take. */
  contextWindow?: number | undefined
  /** How much of it is taken, from 0 to 1. */
  contextWindowUsage?: number | undefined
  /** Calls that are still to be made. */
  pendingToolCalls?: Array<ToolCall> | undefined
  /** Results of those that have been. */
  partialToolResults?: Array<ToolResult> | undefined
  /** Where it was executed, and whatever else a program keeps here. */
  metadata?: { runtime?: RuntimeName | undefined; [name: string]: unknown } | undefined
  /** Why it stopped. */
  error?: { name: string; message: string; statusCode?: number | undefined; isRetryable: boolean } | undefined
  /** How often the step was tried again. */
  retryCount?: number | undefined
}

/** Checks a {@link Checkpoint}. */
export const CheckpointSchema: Schema.Codec<Checkpoint> = Schema.Struct({
  id: text,
  jobId: text,
  runId: text,
  status: Schema.Literals([
    "init",
    "proceeding",
    "completed",
    "stoppedByInteractiveTool",
    "stoppedByDelegate",
    "stoppedByExceededMaxSteps",
    "stoppedByError",
  ]),
  stepNumber: Schema.Finite,
  messages: list(MessageSchema),
  expert: expertRefSchema,
  delegateTo: Schema.optional(list<DelegateTo>(
    Schema.Struct({ expert: expertRefSchema, toolCallId: text, toolName: text, query: text }),
  )),
  delegatedBy: Schema.optional(
    Schema.Struct({ expert: expertRefSchema, toolCallId: text, toolName: text, checkpointId: text, runId: text }),
  ),
  usage: usageSchema,
  contextWindow: Schema.optional(Schema.Finite),
  contextWindowUsage: Schema.optional(Schema.Finite),
  pendingToolCalls: Schema.optional(list(ToolCallSchema)),
  partialToolResults: Schema.optional(list(ToolResultSchema)),
  metadata: Schema.optional(
    Schema.StructWithRest(
      Schema.Struct({
        runtime: Schema.optional(Schema.Literals(["local", "cursor", "claude-code", "gemini", "docker"])),
      }),
      [Schema.Record(Schema.String, Schema.Unknown)],
    ),
  ),
  error: Schema.optional(
    Schema.Struct({
      name: text,
      message: text,
      statusCode: Schema.optional(Schema.Finite),
      isRetryable: Schema.Boolean,
    }),
  ),
  retryCount: Schema.optional(Schema.Finite),
})

/** One step of a run. */
export interface Step {
  /** 1 for the first. */
  stepNumber: number
  /** What the model was told. */
  inputMessages?: Array<InstructionMessage | UserMessage | ToolMessage> | undefined
  /** What it answered. */
  newMessages: Array<Message>
  /** What it asked of tools. */
  toolCalls?: Array<ToolCall> | undefined
  /** What they answered. */
  toolResults?: Array<ToolResult> | undefined
  /** What is still to be asked. */
  pendingToolCalls?: Array<ToolCall> | undefined
  /** Tokens used. */
  usage: Usage
  /** When it was begun, in milliseconds since 1970. */
  startedAt: number
  /** When it ended, likewise. */
  finishedAt?: number | undefined
}

/** What every event has. */
export interface BaseEvent {
  /** Names the event. */
  id: string
  /** The expert. */
  expertKey: string
  /** When it happened, in milliseconds since 1970. */
  timestamp: number
  /** The job. */
  jobId: string
  /** The run. */
  runId: string
  /** The step. */
  stepNumber: number
}

/** What each type of event holds besides. Stored events are checked for {@link BaseEvent} only, as in the original. */
export interface EventPayloads {
  /** A run begins. */
  startRun: { initialCheckpoint: Checkpoint; inputMessages: Array<InstructionMessage | UserMessage | ToolMessage> }
  /** The model is asked. */
  startGeneration: { messages: Array<Message> }
  /** It is asked again. */
  retry: {
    reason: string
    newMessages: Array<UserMessage | ExpertMessage | ToolMessage>
    toolCalls?: Array<ToolCall> | undefined
    toolResults?: Array<ToolResult> | undefined
    usage: Usage
  }
  /** It asks tools. */
  callTools: { newMessage: ExpertMessage; toolCalls: Array<ToolCall>; usage: Usage }
  /** It asks a person. */
  callInteractiveTool: { newMessage: ExpertMessage; toolCall: ToolCall; usage: Usage }
  /** It asks other experts. */
  callDelegate: { newMessage: ExpertMessage; toolCalls: Array<ToolCall>; usage: Usage }
  /** Tools have answered. */
  resolveToolResults: { toolResults: Array<ToolResult> }
  /** It says that it is done. */
  attemptCompletion: { toolResult: ToolResult }
  /** A call is over. */
  finishToolCall: { newMessages: Array<UserMessage | ToolMessage> }
  /** Calls are taken up again. */
  resumeToolCalls: { pendingToolCalls: Array<ToolCall>; partialToolResults: Array<ToolResult> }
  /** All calls are over. */
  finishAllToolCalls: { newMessages: Array<UserMessage | ToolMessage> }
  /** The next step begins. */
  continueToNextStep: { checkpoint: Checkpoint; step: Step; nextCheckpoint: Checkpoint }
  /** A person is waited for. */
  stopRunByInteractiveTool: { checkpoint: Checkpoint; step: Step }
  /** Other experts are waited for. */
  stopRunByDelegate: { checkpoint: Checkpoint; step: Step }
  /** There were too many steps. */
  stopRunByExceededMaxSteps: { checkpoint: Checkpoint; step: Step }
  /** Something failed. */
  stopRunByError: { checkpoint: Checkpoint; step: Step; error: NonNullable<Checkpoint["error"]> }
  /** The run is done. */
  completeRun: { checkpoint: Checkpoint; step: Step; text: string; usage: Usage }
  /** Thinking begins. */
  startStreamingReasoning: Record<never, never>
  /** A piece of it. */
  streamReasoning: { delta: string }
  /** All of it. */
  completeStreamingReasoning: { text: string }
  /** The answer begins. */
  startStreamingRunResult: Record<never, never>
  /** A piece of it. */
  streamRunResult: { delta: string }
  /** All of it. */
  completeStreamingRunResult: { text: string }
}

/** The types of event. */
export type EventType = keyof EventPayloads

/** An event of a run. */
export type RunEvent<T extends EventType = EventType> = {
  [K in T]: BaseEvent & { type: K } & EventPayloads[K]
}[T]

/** What a stored event is checked for. Its type may be any: later versions may add some. */
export interface StoredEvent extends BaseEvent {
  /** What happened. */
  type: string
}

/** Checks a {@link StoredEvent}. */
export const EventSchema: Schema.Codec<StoredEvent> = Schema.Struct({
  id: text,
  expertKey: text,
  timestamp: Schema.Finite,
  jobId: text,
  runId: text,
  stepNumber: Schema.Finite,
  type: text,
})

/** What the name of an event says about it. */
export interface EventMeta {
  /** When it happened, in milliseconds since 1970. */
  timestamp: number
  /** The step. */
  stepNumber: number
  /** What happened. */
  type: string
}
