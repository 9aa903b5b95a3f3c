/**
 * What the command prints. Data goes to stdout and everything else to stderr, and each write is awaited: Bun and
 * Node drop what a pipe has not taken when the process exits.
 */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import { write } from "node:fs"
import process from "node:process"
import type { StoreError } from "../error.ts"
import { BrokenPipe, type CommandError, fileError } from "./exit.ts"

/** Milliseconds until a pipe that would block is tried again. */
const busyPause = 2

const denoStdout =
  (globalThis as { readonly Deno?: { readonly stdout: { readonly write: (bytes: Uint8Array) => Promise<number> } } })
    .Deno?.stdout

/**
 * One write to stdout, off the event loop. Deno's `process.stdout` and `fs.write` would block it while a pipe is
 * full, and with it the signal that is to end the wait.
 */
const writeOnce = (bytes: Uint8Array): Promise<number> =>
  denoStdout?.write(bytes) ??
    new Promise((resolve, reject) => write(1, bytes, (error, written) => error ? reject(error) : resolve(written)))

const writeAll = async (bytes: Uint8Array, signal: AbortSignal): Promise<void> => {
  for (let offset = 0; offset < bytes.length && !signal.aborted;) {
    try {
      offset += await writeOnce(bytes.subarray(offset))
    } catch (cause) {
      // Whoever shares the pipe or the terminal with us may have made it non-blocking.
      if ((cause as { code?: string }).code !== "EAGAIN") throw cause
      await new Promise((resolve) => setTimeout(resolve, busyPause))
    }
  }
}

/**
 * Writes data to stdout and waits until it has left the process. A reader that has gone is a defect,
 * {@link BrokenPipe}: it ends the command whatever it is doing.
 */
export const writeOut = (data: string | Uint8Array): Effect.Effect<void, CommandError> =>
  Effect.catch(
    Effect.tryPromise({
      try: (signal) => writeAll(typeof data === "string" ? new TextEncoder().encode(data) : data, signal),
      catch: (cause) => cause,
    }),
    (cause) =>
      (cause as { code?: string }).code === "EPIPE"
        ? Effect.die(new BrokenPipe())
        : Effect.fail(fileError("Output", "write to the standard output", cause)),
  )

/** Writes a message to stderr. Where that fails there is nowhere left to say so. */
export const writeErr = (text: string): Effect.Effect<void> =>
  Effect.promise(() =>
    new Promise((resolve) => {
      // Without a listener the `error` event would end the process.
      if (process.stderr.listenerCount("error") === 0) process.stderr.on("error", () => {})
      process.stderr.write(text, () => resolve())
    })
  )

/** Prints a value as one line of JSON. */
export const printJson = (value: unknown): Effect.Effect<void, CommandError> => writeOut(`${JSON.stringify(value)}\n`)

/** An error as its reader gets it: two lines for people, one line of JSON for programs. */
export const printError = (error: StoreError | CommandError, json: boolean): Effect.Effect<void> => {
  if (json) return writeErr(`${JSON.stringify({ error: error.toJSON() })}\n`)
  const hint = error.hint === undefined ? "" : `hint: ${error.hint}\n`
  return writeErr(printable(`holdfast: ${error.message}\n${hint}`))
}

/** Whether stdout is a terminal. */
export const outIsTerminal = (): boolean => process.stdout.isTTY === true

/** Whether stderr is a terminal that can redraw a line. */
export const errIsTerminal = (): boolean => process.stderr.isTTY === true && process.env["TERM"] !== "dumb"

/**
 * Text that is safe on a terminal. A key may hold what a terminal obeys (U+009B begins a control sequence) or
 * what reorders the line, and whoever names an object must not get to do that.
 */
export const printable = (text: string): string =>
  // deno-lint-ignore no-control-regex
  text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (character) =>
    `\\u{${character.charCodeAt(0).toString(16)}}`)

/** A number of bytes for people: `"12.5 MiB"`. */
export const formatBytes = (bytes: number): string =>
  ByteSize.format(ByteSize.bytes(Math.max(0, Math.round(bytes))), { precision: 1 })
