/**
 * What an execution's messages hold: the shapes of Perstack's message, tool call and tool result, and the schemas that
 * stored ones are checked against.
 *
 * The schemas only check. What is read is the JSON as it lies there, so fields that a later version adds are kept. The
 * arrays can be changed by whoever reads them, as in the original: programs written for it do.
 *
 * @module
 */
import * as Schema from "effect/Schema"

const text = Schema.String
const list = <A>(item: Schema.Codec<A>): Schema.Codec<Array<A>> => Schema.mutable(Schema.Array(item))

/** A URL in a string; what is no URL is refused. */
const Url: Schema.Codec<string> = Schema.String.pipe(
  Schema.check(Schema.makeFilter((value: string) => URL.canParse(value) || "this is not a URL")),
)

/** What every part of a message has. */
export interface PartBase<Type extends string> {
  /** Names the part within its message. */
  id: string
  /** What kind of part it is. */
  type: Type
}

const part = <const Type extends string>(type: Type) => ({ id: text, type: Schema.Literal(type) })

/** Text. */
export interface TextPart extends PartBase<"textPart"> {
  /** The text. */
  text: string
}

/** A picture or file that is somewhere else. */
export interface UrlPart<Type extends string> extends PartBase<Type> {
  /** Where it is. */
  url: string
  /** Its media type. */
  mimeType: string
}

/** A picture or file in base64. */
export interface InlinePart<Type extends string> extends PartBase<Type> {
  /** Its bytes in base64. */
  encodedData: string
  /** Its media type. */
  mimeType: string
}

/** A picture or file as a string of its bytes. */
export interface BinaryPart<Type extends string> extends PartBase<Type> {
  /** Its bytes. */
  data: string
  /** Its media type. */
  mimeType: string
}

/** What a model asks of a tool. */
export interface ToolCallPart extends PartBase<"toolCallPart"> {
  /** Names the call. */
  toolCallId: string
  /** Which tool. */
  toolName: string
  /** What it is given; only JSON should be in it. */
  args: unknown
}

/** What a model thought before it answered. */
export interface ThinkingPart extends PartBase<"thinkingPart"> {
  /** The thoughts. */
  thinking: string
  /** What the model's provider checks them by. */
  signature?: string | undefined
}

/** What a tool answered. */
export interface ToolResultPart extends PartBase<"toolResultPart"> {
  /** The call. */
  toolCallId: string
  /** The tool. */
  toolName: string
  /** The answer. */
  contents: Array<TextPart | InlinePart<"imageInlinePart"> | InlinePart<"fileInlinePart">>
  /** It is an error. */
  isError?: boolean | undefined
}

/** A part of what a user says. */
export type UserPart =
  | TextPart
  | UrlPart<"imageUrlPart">
  | InlinePart<"imageInlinePart">
  | BinaryPart<"imageBinaryPart">
  | UrlPart<"fileUrlPart">
  | InlinePart<"fileInlinePart">
  | BinaryPart<"fileBinaryPart">

/** A part of what an expert says. */
export type ExpertPart = TextPart | ToolCallPart | ThinkingPart

/** A part of any message. */
export type MessagePart = UserPart | ExpertPart | ToolResultPart

const textPartSchema: Schema.Codec<TextPart> = Schema.Struct({ ...part("textPart"), text })

const urlPart = <const Type extends string>(type: Type): Schema.Codec<UrlPart<Type>> =>
  Schema.Struct({ ...part(type), url: Url, mimeType: text })

const inlinePart = <const Type extends string>(type: Type): Schema.Codec<InlinePart<Type>> =>
  Schema.Struct({ ...part(type), encodedData: text, mimeType: text })

const binaryPart = <const Type extends string>(type: Type): Schema.Codec<BinaryPart<Type>> =>
  Schema.Struct({ ...part(type), data: text, mimeType: text })

const ImageInline = inlinePart("imageInlinePart")
const FileInline = inlinePart("fileInlinePart")

const toolCallPartSchema: Schema.Codec<ToolCallPart> = Schema.Struct({
  ...part("toolCallPart"),
  toolCallId: text,
  toolName: text,
  args: Schema.Unknown,
})

const thinkingPartSchema: Schema.Codec<ThinkingPart> = Schema.Struct({
  ...part("thinkingPart"),
  thinking: text,
  signature: Schema.optional(text),
})

const toolResultPartSchema: Schema.Codec<ToolResultPart> = Schema.Struct({
  ...part("toolResultPart"),
  toolCallId: text,
  toolName: text,
  contents: list(Schema.Union([textPartSchema, ImageInline, FileInline])),
  isError: Schema.optional(Schema.Boolean),
})

const userPartSchema: Schema.Codec<UserPart> = Schema.Union([
  textPartSchema,
  urlPart("imageUrlPart"),
  ImageInline,
  binaryPart("imageBinaryPart"),
  urlPart("fileUrlPart"),
  FileInline,
  binaryPart("fileBinaryPart"),
])

const expertPartSchema: Schema.Codec<ExpertPart> = Schema.Union([
  textPartSchema,
  toolCallPartSchema,
  thinkingPartSchema,
])

/** What every message has. */
export interface MessageBase<Type extends string, Part> {
  /** Names the message. */
  id: string
  /** Who says it. */
  type: Type
  /** What is said. */
  contents: Array<Part>
  /** Whether the model's provider may keep it. */
  cache?: boolean | undefined
}

const message = <const Type extends string, Part>(
  type: Type,
  contents: Schema.Codec<Part>,
): Schema.Codec<MessageBase<Type, Part>> =>
  Schema.Struct({ ...part(type), contents: list(contents), cache: Schema.optional(Schema.Boolean) })

/** What an expert is told to be. */
export interface InstructionMessage extends MessageBase<"instructionMessage", TextPart> {}
/** What a user says. */
export interface UserMessage extends MessageBase<"userMessage", UserPart> {}
/** What an expert says. */
export interface ExpertMessage extends MessageBase<"expertMessage", ExpertPart> {}
/** What tools have answered. */
export interface ToolMessage extends MessageBase<"toolMessage", ToolResultPart> {}

/** A message of an execution. */
export type Message = InstructionMessage | UserMessage | ExpertMessage | ToolMessage

/** Checks a {@link Message}. */
export const MessageSchema: Schema.Codec<Message> = Schema.Union([
  message("instructionMessage", textPartSchema),
  message("userMessage", userPartSchema),
  message("expertMessage", expertPartSchema),
  message("toolMessage", toolResultPartSchema),
])

/** The name of a call, a skill or a tool: 1 to 255 characters, as the original has it. */
const Name: Schema.Codec<string> = Schema.String.pipe(
  Schema.check(Schema.makeFilter((value: string) => (value !== "" && value.length <= 255) || "1 to 255 characters")),
)

/** A call of a tool. */
export interface ToolCall {
  /** Names the call. */
  id: string
  /** The skill that the tool belongs to. */
  skillName: string
  /** The tool. */
  toolName: string
  /** What it is given. */
  args: Record<string, unknown>
}

/** Checks a {@link ToolCall}. */
export const ToolCallSchema: Schema.Codec<ToolCall> = Schema.Struct({
  id: Name,
  skillName: Name,
  toolName: Name,
  args: Schema.Record(Schema.String, Schema.Unknown),
})

/** What a call of a tool came to. */
export interface ToolResult {
  /** The call. */
  id: string
  /** The skill that the tool belongs to. */
  skillName: string
  /** The tool. */
  toolName: string
  /** What it answered. */
  result: Array<MessagePart>
}

/** Checks a {@link ToolResult}. */
export const ToolResultSchema: Schema.Codec<ToolResult> = Schema.Struct({
  id: Name,
  skillName: Name,
  toolName: Name,
  result: list(Schema.Union([userPartSchema, toolCallPartSchema, thinkingPartSchema, toolResultPartSchema])),
})
