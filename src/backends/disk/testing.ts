/**
 * What the disk backend's tests share: folders that go away, and other processes to work against. Not part of
 * the package.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readdirSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Backend } from "../../backend.ts"
import type { StoreError } from "../../error.ts"
import { make } from "./mod.ts"
import type { Job } from "./testing-worker.ts"

const here = dirname(fileURLToPath(import.meta.url))
// The programs themselves: a launcher in between would be killed in their place.
const modules = join(here, "../../../node_modules")
const programs = { bun: join(modules, "bun/bin/bun.exe"), deno: join(modules, "deno/deno") }

/** A fresh folder with its real path. */
export const tempFolder = (): string => realpathSync(mkdtempSync(join(tmpdir(), "holdfast-disk-")))

/** Runs `use` with a fresh folder, which is removed afterwards. */
export const withFolder = async <A>(use: (folder: string) => Promise<A>): Promise<A> => {
  const folder = tempFolder()
  try {
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Runs effects to their end; rejects with their failure. */
export const run = <A>(effect: Effect.Effect<A, StoreError>): Promise<A> => Effect.runPromise(effect)

/** Runs `use` with a store on `root`, and closes it. */
export const withStore = async <A>(root: string, use: (backend: Backend) => Promise<A>): Promise<A> => {
  const scope = await Effect.runPromise(Scope.make())
  try {
    return await use(await Effect.runPromise(Scope.provide(make({ root }), scope)))
  } finally {
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** Runs `use` with a store on a fresh folder `root`, which is removed afterwards. */
export const withFreshStore = <A>(use: (backend: Backend, root: string) => Promise<A>): Promise<A> =>
  withFolder((folder) => {
    const root = join(folder, "root")
    return withStore(root, (backend) => use(backend, root))
  })

/** The reason with which `effect` fails, or `"succeeded"`. */
export const reasonOf = (effect: Effect.Effect<unknown, StoreError>): Promise<string> =>
  run(Effect.match(effect, { onSuccess: () => "succeeded", onFailure: (error) => error.reason }))

/** The runtimes that tests mix. */
export const runtimes = ["bun", "deno"] as const

/** Another process at work. */
export interface Worker {
  readonly process: ChildProcess
  /** The next line it prints; `undefined` when it has ended. */
  readonly line: () => Promise<string | undefined>
  /** All that it still prints, and how it ended. */
  readonly end: () => Promise<{ readonly lines: ReadonlyArray<string>; readonly code: number | null }>
  /** Ends it as a power cut would. */
  readonly kill: () => Promise<void>
}

/**
 * Starts a process that does `job`. `wrap` is a command that runs the command after it, such as `setpriv`;
 * `allowed` are Deno's permissions, by default all.
 */
export const startWorker = (
  runtime: typeof runtimes[number],
  job: Job,
  { wrap = [], allowed = ["-A"] }: { readonly wrap?: ReadonlyArray<string>; readonly allowed?: ReadonlyArray<string> } =
    {},
): Worker => {
  const command = [
    ...wrap,
    programs[runtime],
    ...(runtime === "deno" ? ["run", "--quiet", "--no-check", ...allowed] : ["run"]),
    join(here, "testing-worker.ts"),
    JSON.stringify(job),
  ]
  const child = spawn(command[0]!, command.slice(1), { stdio: ["ignore", "pipe", "inherit"] })
  // A test that fails half-way must not leave it at work.
  const kill = (): void => void child.kill("SIGKILL")
  process.on("exit", kill)
  const lines: Array<string> = []
  const waiting: Array<() => void> = []
  let rest = ""
  let ended = false
  const wake = (): void => waiting.splice(0).forEach((go) => go())
  child.stdout!.setEncoding("utf8")
  child.stdout!.on("data", (text: string) => {
    const parts = (rest + text).split("\n")
    rest = parts.pop()!
    lines.push(...parts)
    wake()
  })
  const code = new Promise<number | null>((resolve) => {
    child.on("close", (status: number | null) => {
      process.off("exit", kill)
      ended = true
      wake()
      resolve(status)
    })
  })
  const line = async (): Promise<string | undefined> => {
    while (lines.length === 0 && !ended) await new Promise<void>((resolve) => waiting.push(resolve))
    return lines.shift()
  }
  return {
    process: child,
    line,
    end: async () => {
      const status = await code
      return { lines: lines.splice(0), code: status }
    },
    kill: async () => {
      kill()
      await code
    },
  }
}

/** Paths of all files below `folder`, relative to it, in order. */
export const filesIn = (folder: string, below = ""): ReadonlyArray<string> =>
  readdirSync(join(folder, below), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesIn(folder, join(below, entry.name)) : [join(below, entry.name)]
  ).sort()

/** How many files this process has open, without those of the runtime that come and go. */
export const openFiles = (): number => readdirSync("/proc/self/fd").length
