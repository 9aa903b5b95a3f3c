/** Runs the command as its users do, in a process of its own, for the tests of this folder. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"

const main = fileURLToPath(new URL("main.ts", import.meta.url))

/** Milliseconds that a test of several processes may take on a busy machine. */
export const patience = 60_000

/** The command line of `holdfast` in the runtime that runs the tests. */
export const command: readonly [string, ...Array<string>] = process.versions["deno"] === undefined
  ? [process.execPath, main]
  : [process.execPath, "run", "--no-check", "-A", main]

/** What a process left behind. */
export interface Outcome {
  /** The exit code, or 128 + its number for a signal that killed the process. */
  readonly code: number
  readonly stdout: Uint8Array<ArrayBuffer>
  readonly out: string
  readonly err: string
}

/** Options of {@link start}. */
export interface StartOptions {
  readonly cwd: string
  readonly env?: Record<string, string>
}

/** Deno reports a process that exits with 128 + n as killed by signal n. */
const signalNumbers: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGPIPE: 13, SIGTERM: 15 }

/** Starts a program without the variables that would change what it prints. */
export const start = (
  [program, ...args]: readonly [string, ...Array<string>],
  { cwd, env }: StartOptions,
): ChildProcessWithoutNullStreams => {
  const { HOLDFAST_STORE: _store, NO_COLOR: _color, FORCE_COLOR: _force, ...rest } = process.env
  const child = spawn(program, args, { cwd, env: { ...rest, ...env }, stdio: ["pipe", "pipe", "pipe"] })
  // A program may end without reading all of its input.
  child.stdin.on("error", () => {})
  return child
}

/** Waits for the end of a process and collects what it prints. */
export const outcome = async (child: ChildProcessWithoutNullStreams): Promise<Outcome> => {
  const read = async (stream: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> => {
    const chunks: Array<Uint8Array<ArrayBuffer>> = []
    for await (const chunk of stream) chunks.push(new Uint8Array(chunk))
    return await new Blob(chunks).bytes()
  }
  const [stdout, stderr, code] = await Promise.all([
    read(child.stdout),
    read(child.stderr),
    new Promise<number>((resolve, reject) => {
      child.on("error", reject)
      child.on("close", (code, signal) => resolve(code ?? 128 + (signalNumbers[signal ?? ""] ?? 0)))
    }),
  ])
  return { code, stdout, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) }
}

/** A folder with a store of its own, removed by `await using`. */
export class Workplace implements AsyncDisposable {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async make(): Promise<Workplace> {
    return new Workplace(await mkdtemp(join(tmpdir(), "holdfast-cli-")))
  }

  /** A path in the folder. */
  at(name: string): string {
    return join(this.path, name)
  }

  /** Starts `holdfast` with these arguments. */
  start(...args: ReadonlyArray<string>): ChildProcessWithoutNullStreams {
    return start([...command, ...args] as [string, ...Array<string>], { cwd: this.path })
  }

  /** Runs `holdfast` with these arguments and an empty input. */
  run(...args: ReadonlyArray<string>): Promise<Outcome> {
    return this.feed("", ...args)
  }

  /** Runs `holdfast` with these arguments and this input. */
  feed(input: string | Uint8Array, ...args: ReadonlyArray<string>): Promise<Outcome> {
    const child = this.start(...args)
    child.stdin.end(input)
    return outcome(child)
  }

  /** Runs a line of shell, in which `$holdfast` is the command. */
  shell(line: string, env?: Record<string, string>): Promise<Outcome> {
    const child = start(["bash", "-c", line], { cwd: this.path, env: { holdfast: command.join(" "), ...env } })
    child.stdin.end()
    return outcome(child)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}

/** Waits until `check` says yes. */
export const until = async (what: string, check: () => Promise<boolean>): Promise<void> => {
  for (const end = performance.now() + 20_000; performance.now() < end;) {
    if (await check()) return
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  throw new Error(`waited in vain: ${what}`)
}
