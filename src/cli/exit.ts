/**
 * How the command ends: its exit codes, and the errors that are its own rather than a store's.
 *
 * Scripts branch on these numbers. A new reason gets one of the codes that exist, and no code ever changes.
 */
import type { Reason } from "../error.ts"

/** Exit code of a usage error: something to correct on the command line. */
export const usageExit = 2

/** Exit code of everything that has no code of its own. */
export const failureExit = 5

/** Exit code when the reader of our output has gone, as for `cat` in `cat FILE | head`: 128 + SIGPIPE. */
export const brokenPipeExit = 141

/** The signals that end the command after it has cleaned up, and their exit codes: 128 + the signal's number. */
export const signalExits = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

/** A signal that ends the command. */
export type Signal = keyof typeof signalExits

/** Handles signals: the first one stops the work, which then cleans up; the second one ends the process at once. */
export const onSignal = (
  stop: (signal: Signal) => void,
  exit: (code: number) => void,
): (signal: Signal) => void => {
  let stopped = false
  return (signal) => {
    if (stopped) return exit(signalExits[signal])
    stopped = true
    stop(signal)
  }
}

/** The exit code of every reason. */
export const exitCodes: Readonly<Record<Reason, number>> = {
  NotFound: 1,
  InvalidKey: usageExit,
  InvalidInput: usageExit,
  Config: usageExit,
  RangeNotSatisfiable: usageExit,
  Unsupported: usageExit,
  TooLarge: usageExit,
  Unauthorized: 3,
  Forbidden: 3,
  AlreadyExists: 4,
  PreconditionFailed: 4,
  Conflict: 4,
  Changed: 4,
  CommitUnknown: 4,
  NotModified: failureExit,
  RateLimited: failureExit,
  Timeout: failureExit,
  Unavailable: failureExit,
  NoSpace: failureExit,
  Aborted: failureExit,
  Protocol: failureExit,
  Corrupt: 6,
  Truncated: 6,
}

/** A failure on this side of the store: a bad command line, a local file, a signal. */
export class CommandError extends Error {
  readonly _tag = "CommandError"
  readonly code: "Usage" | "File" | "Output" | "Signal" | "Checks" | "Defect"
  readonly hint: string | undefined
  readonly exitCode: number

  constructor(code: CommandError["code"], message: string, hint: string | undefined, exitCode: number) {
    super(message)
    this.code = code
    this.hint = hint
    this.exitCode = exitCode
  }

  /** What a `--json` reader gets. */
  toJSON(): Record<string, unknown> {
    return { code: this.code, message: this.message, hint: this.hint }
  }
}

/** The reader of our output has gone. Nobody is left to tell, so the command ends without a word. */
export class BrokenPipe extends Error {
  readonly _tag = "BrokenPipe"
}

/** Something to correct on the command line. */
export const usageError = (message: string, hint: string): CommandError =>
  new CommandError("Usage", message, hint, usageExit)

/** What the system calls an error, where the name in `code` is not enough. */
const systemErrors: Readonly<
  Record<string, { readonly text: string; readonly hint: string; readonly usage: boolean }>
> = {
  ENOENT: { text: "there is no such file or folder", hint: "check the path", usage: true },
  ENOTDIR: { text: "a part of the path is not a folder", hint: "check the path", usage: true },
  EISDIR: { text: "it is a folder", hint: "name a file", usage: true },
  ELOOP: { text: "its symbolic links lead nowhere", hint: "check the path", usage: true },
  ENAMETOOLONG: { text: "the name is too long", hint: "use a shorter one", usage: true },
  EACCES: { text: "permission denied", hint: "check who may use the file and its folder", usage: true },
  EPERM: { text: "the operation is not permitted", hint: "check who may use the file and its folder", usage: true },
  EROFS: { text: "the file system is read-only", hint: "write to another place", usage: true },
  ENOSPC: { text: "no space is left there", hint: "free some room and try again", usage: false },
  EDQUOT: { text: "the disk quota is used up", hint: "free some room and try again", usage: false },
}

/** A local file or stream that failed. A path that cannot be used is a usage error, anything else a failure. */
export const fileError = (code: "File" | "Output", action: string, cause: unknown): CommandError => {
  const { code: errno, message } = cause as { readonly code?: string; readonly message?: string }
  const known = systemErrors[errno ?? ""]
  return new CommandError(
    code,
    `Cannot ${action}: ${known?.text ?? message ?? String(cause)}`,
    known?.hint,
    known?.usage === true ? usageExit : failureExit,
  )
}
