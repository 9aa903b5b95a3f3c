/**
 * `RUST_LOG` for Persist's functions: the directives of `env_logger`, and lines as Persist's `tracing` writes them, to
 * standard error. A line is `time LEVEL target: message name=value …`; a value that is not plain stands in quotes, so
 * that a line is always one line. Without the variable nothing is done.
 *
 * Lines about calls have the modules of Persist as targets: `persist_core::storage::s3`, `persist_core::snapshot`. As
 * there, a call begins at `info` (a question at `debug`), ends at `debug`, and fails at `error`. They tell places,
 * sizes, times and Persist's own messages; never what is stored, a key, or the text of an error of somebody else.
 *
 * @module
 */
import { type Environment, variableOf } from "./persist-config.ts"
import { PersistError } from "./persist-errors.ts"

/** How important a line is, the most important first. */
export type LogLevel = "error" | "warn" | "info" | "debug" | "trace"

/** What a line says behind its message; `undefined` is left out. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>

/** Which lines of the targets that begin so are written: those up to `level`. */
export interface Directive {
  /** The beginning of a target's name; `""` is that of all. */
  readonly target: string
  /** The least important level that is written. */
  readonly level: LogLevel | "off"
}

/** What a value of the variable says. */
export interface Directives {
  /** In their order. */
  readonly directives: ReadonlyArray<Directive>
  /** What could not be understood. */
  readonly ignored: ReadonlyArray<string>
}

const levels: ReadonlyArray<LogLevel | "off"> = ["off", "error", "warn", "info", "debug", "trace"]

const levelOf = (text: string): LogLevel | "off" | undefined => levels.find((level) => level === text.toLowerCase())

/**
 * Reads directives: `target=level`, a level for all targets, or a target for all levels, between commas. Spans, regular
 * expressions and whatever else there is in Rust are not understood.
 */
export const parseDirectives = (text: string): Directives => {
  const directives: Array<Directive> = []
  const ignored: Array<string> = []
  for (const part of text.split(",").map((part) => part.trim()).filter((part) => part !== "")) {
    const [name = "", value = "", ...more] = part.split("=").map((side) => side.trim())
    const general = part.includes("=") ? undefined : levelOf(name)
    const level = general ?? (value === "" ? "trace" : levelOf(value))
    if (level === undefined || more.length > 0 || !/^[A-Za-z_][\w:-]*$/.test(name)) ignored.push(part)
    else directives.push({ target: general === undefined ? name : "", level })
  }
  return { directives, ignored }
}

/** Letters that nobody sees, or that end a line or turn the rest of it round. */
const unseen = /[\p{C}\p{Zl}\p{Zp}]/gu

const shown = (value: string | number | boolean): string => {
  const text = String(value)
  if (/^[^\s"=\\\p{C}]+$/u.test(text)) return text
  return JSON.stringify(text).replaceAll(unseen, (letter) => `\\u{${letter.codePointAt(0)!.toString(16)}}`)
}

/** A line, without its end. */
export const formatLine = (
  time: Date,
  level: LogLevel,
  target: string,
  message: string,
  fields: LogFields = {},
): string => {
  const rest = Object.entries(fields).flatMap(([name, value]) =>
    value === undefined ? [] : [` ${name}=${shown(value)}`]
  )
  return `${time.toISOString()} ${level.toUpperCase().padStart(5)} ${target}: ${message}${rest.join("")}`
}

/** Writes the lines that directives ask for. */
export class RustLog {
  readonly #directives: ReadonlyArray<Directive>
  readonly #print: (line: string) => void

  /** A log by the value of the variable; what of it cannot be understood is told at once, in one line. */
  constructor(text: string, print: (line: string) => void = (line) => console.error(line)) {
    const { directives, ignored } = parseDirectives(text)
    this.#directives = directives
    this.#print = print
    if (ignored.length > 0) {
      print(`warning: RUST_LOG: ignored ${ignored.map((part) => JSON.stringify(part)).join(", ")}`)
    }
  }

  /** Whether such a line is written: the directive with the longest matching target says so, of equal ones the last. */
  writes(level: LogLevel, target: string): boolean {
    let found: Directive = { target: "", level: "off" }
    for (const directive of this.#directives) {
      if (target.startsWith(directive.target) && directive.target.length >= found.target.length) found = directive
    }
    return levels.indexOf(level) <= levels.indexOf(found.level)
  }

  /** Writes a line, if it is asked for. */
  line(level: LogLevel, target: string, message: string, fields?: LogFields): void {
    if (this.writes(level, target)) this.#print(formatLine(new Date(), level, target, message, fields))
  }
}

/** A log for each value that the variable has had, so that a wrong one is told once. */
const logs = new Map<string, RustLog>()

/** The log that the environment asks for; `undefined` where `RUST_LOG` is not set. */
export const rustLog = (env: Environment | undefined): RustLog | undefined => {
  const text = variableOf(env)("RUST_LOG")
  if (text === undefined) return undefined
  const log = logs.get(text) ?? new RustLog(text)
  logs.set(text, log)
  return log
}

/** A call, as its lines name it. */
export interface LoggedCall {
  /** Persist's module. */
  readonly target: string
  /** The function's name. */
  readonly operation: string
  /** Where it goes. */
  readonly fields: LogFields
}

/** Calls that only ask: less important than those that store, load and remove. */
const questions: ReadonlySet<string> = new Set(["exists", "snapshot_exists", "health_check"])

/** Only our own messages are known to hold nothing of what is stored. */
const errorText = (error: unknown): string =>
  error instanceof PersistError ? error.message : error instanceof Error ? error.constructor.name : typeof error

/** Runs a call, with a line when it begins and one when it ends; what it notes stands in the second. */
export const logged = async <A>(
  log: RustLog | undefined,
  { target, operation, fields }: LoggedCall,
  run: (note: (more: LogFields) => void) => Promise<A>,
): Promise<A> => {
  if (log === undefined) return await run(() => {})
  const began = performance.now()
  let noted: LogFields = {}
  const ended = (level: LogLevel, how: string, more?: LogFields): void =>
    log.line(level, target, `${operation} ${how}`, {
      ...fields,
      ...noted,
      ...more,
      duration_ms: Math.round(performance.now() - began),
    })
  log.line(questions.has(operation) ? "debug" : "info", target, `${operation} started`, fields)
  try {
    const result = await run((more) => void (noted = { ...noted, ...more }))
    ended("debug", "finished")
    return result
  } catch (error) {
    ended("error", "failed", { error: errorText(error) })
    throw error
  }
}
