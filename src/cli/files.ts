/**
 * Local files as a source of a save and as the target of a load.
 *
 * A target is written beside its final name and renamed when it is complete, so that a load that fails or is
 * stopped leaves what was there before, and no debris.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createReadStream, fstatSync, type Stats } from "node:fs"
import { type FileHandle, open, realpath, rename, rm, stat } from "node:fs/promises"
import { dirname, join } from "node:path"
import process from "node:process"
import { Readable } from "node:stream"
import type { Source } from "../streams/source.ts"
import { type CommandError, fileError, usageError } from "./exit.ts"

/** Bytes of one read of a local file. */
const readSize = 256 * 1024

/** Bytes to save, and how many where that is certain. */
export interface Input {
  readonly source: Source
  readonly size: number | undefined
}

const attempt = <A>(action: string, run: () => Promise<A>): Effect.Effect<A, CommandError> =>
  Effect.tryPromise({ try: run, catch: (cause) => fileError("File", action, cause) })

const folderError = (action: string): CommandError => fileError("File", action, { code: "EISDIR" })

/** A file to save from. */
export const openInput = (path: string): Effect.Effect<Input, CommandError, Scope.Scope> =>
  Effect.gen(function* () {
    const action = `read ${JSON.stringify(path)}`
    const found = yield* attempt(action, () => stat(path))
    if (found.isDirectory()) return yield* Effect.fail(folderError(action))
    // Opening a named pipe waits for its writer: that is left to the stream, which can be given up.
    if (!found.isFile()) return { source: fromNode(createReadStream(path)), size: undefined }
    const handle = yield* Effect.acquireRelease(
      attempt(action, () => open(path, "r")),
      (handle) => Effect.promise(() => handle.close()),
    )
    const { size } = yield* attempt(action, () => handle.stat())
    // What the kernel makes up as it is read, such as /proc/cpuinfo, says that it is empty.
    if (size === 0) return { source: readChunks(handle, Infinity), size: undefined }
    return { source: readChunks(handle, size), size }
  })

/** The standard input to save from. */
export const openStdin: Effect.Effect<Input, CommandError> = Effect.suspend(() => {
  // Deno reads nothing from a folder and reports no error.
  if (fstatSync(0).isDirectory()) return Effect.fail(folderError("read the standard input"))
  return Effect.succeed({ source: fromNode(process.stdin), size: undefined })
})

/** A Web stream, because one can be given up while a read is pending; an iterator waits for its writer. */
const fromNode = (readable: Readable): ReadableStream<Uint8Array> =>
  Readable.toWeb(readable) as unknown as ReadableStream<Uint8Array>

/**
 * The first `size` bytes of an open file, in one buffer that each read fills anew. A log that grows meanwhile is
 * saved as it was when it was opened; a file that shrinks comes out too short, which the save refuses.
 */
async function* readChunks(handle: FileHandle, size: number): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(readSize)
  for (let left = size; left > 0;) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, left), null)
    if (bytesRead === 0) return
    left -= bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

/** A place to load into. */
export interface Output {
  /** Takes the next bytes; they may be reused when it is done. */
  readonly write: (chunk: Uint8Array) => Effect.Effect<void, CommandError>
  /** Called once after the last byte: only now does the file change. */
  readonly commit: Effect.Effect<void, CommandError>
}

/** A file to load into. Without a commit everything is as before when the scope closes. */
export const openOutput = (path: string): Effect.Effect<Output, CommandError, Scope.Scope> =>
  Effect.gen(function* () {
    const action = `write ${JSON.stringify(path)}`
    if (path === "") return yield* Effect.fail(usageError(`Cannot ${action}: the name is empty`, "name a file"))
    // Through a symbolic link, so that it stays one.
    const target = yield* Effect.promise(() => realpath(path).catch(() => path))
    const existing: Stats | undefined = yield* Effect.promise(() => stat(target).catch(() => undefined))
    if (existing?.isDirectory() || (existing === undefined && path.endsWith("/"))) {
      return yield* Effect.fail(folderError(action))
    }
    // /dev/null or a named pipe is written to, not replaced.
    const special = existing !== undefined && !existing.isFile()
    return yield* special ? openSpecial(target, action) : openBeside(target, action, existing?.mode)
  })

/** A device or a named pipe. A pipe may keep us waiting for ever for its other end, so nothing here insists. */
const openSpecial = (target: string, action: string): Effect.Effect<Output, CommandError, Scope.Scope> =>
  Effect.acquireRelease(
    attempt(action, () => open(target, "w")),
    (handle) => Effect.sync(() => void handle.close().catch(() => undefined)),
    { interruptible: true },
  ).pipe(
    Effect.map((handle) => ({ write: (chunk) => attempt(action, () => writeAll(handle, chunk)), commit: Effect.void })),
  )

/** A file beside `target` that takes its place, and its permissions if it has any. */
const openBeside = (
  target: string,
  action: string,
  mode: number | undefined,
): Effect.Effect<Output, CommandError, Scope.Scope> =>
  Effect.gen(function* () {
    const temporary = join(dirname(target), `.holdfast-${crypto.randomUUID()}.tmp`)
    yield* Effect.addFinalizer(() => Effect.promise(() => rm(temporary, { force: true }).catch(() => undefined)))
    const handle = yield* Effect.acquireRelease(
      attempt(action, () => open(temporary, "wx", mode ?? 0o666)),
      (handle) => Effect.promise(() => handle.close().catch(() => undefined)),
    )
    const replace = async (): Promise<void> => {
      if (mode !== undefined) await handle.chmod(mode & 0o7777)
      await handle.sync()
      await handle.close()
      await rename(temporary, target)
    }
    return {
      write: (chunk) => attempt(action, () => writeAll(handle, chunk)),
      commit: Effect.uninterruptible(attempt(action, replace)),
    }
  })

const writeAll = async (handle: FileHandle, chunk: Uint8Array): Promise<void> => {
  for (let written = 0; written < chunk.length;) {
    written += (await handle.write(chunk, written, chunk.length - written)).bytesWritten
  }
}
