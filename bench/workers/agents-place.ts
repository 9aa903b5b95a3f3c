/**
 * What the measurements of agents' state share: places whose every request is counted, and how one step is measured.
 *
 * A request is a call of the backend below the store's policy, further attempts included. On S3 that is one HTTP
 * request. The S3 service is Holdfast's own scripted peer (`agents-peer.ts`) in a process of its own: it checks what a
 * real one checks and is on the same machine, so its times say less than its counts.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import process from "node:process"
import { bun, root } from "../../scripts/tools.ts"
import type { Backend } from "../../src/backend.ts"
import * as Disk from "../../src/backends/disk/mod.ts"
import * as Memory from "../../src/backends/memory.ts"
import * as S3 from "../../src/backends/s3/mod.ts"
import type { StoreOptions } from "../../src/options.ts"
import { openBackend, type Store } from "../../src/store.ts"
import { peerCredentials } from "../../src/testing/s3/mod.ts"
import type { WorkerResult } from "../harness.ts"

/** Where state can be kept. */
export type PlaceName = "memory" | "disk" | "S3"

/** A fresh store at a place. */
export interface Place {
  readonly store: Store
  /** Does one step, `work` units of it, and says what it took. */
  readonly step: (work: number, run: () => Promise<unknown>) => Promise<WorkerResult>
  readonly end: () => Promise<void>
}

/** The same backend; each call of it adds to `requests`, by its name. */
const counted = (backend: Backend, requests: Map<string, number>): Backend =>
  new Proxy(backend, {
    get: (target, name) => {
      const member = Reflect.get(target, name)
      if (typeof member !== "function") return member
      return (...args: ReadonlyArray<unknown>) =>
        Effect.suspend(() => {
          requests.set(String(name), (requests.get(String(name)) ?? 0) + 1)
          return member(...args)
        })
    },
  })

/** Starts the scripted S3 service. It ends with this process. */
const startPeer = async (): Promise<{ readonly endpoint: string; readonly stop: () => void }> => {
  const [program, ...args] = bun()
  const child = spawn(program, [...args, `${root}bench/workers/agents-peer.ts`], { stdio: ["pipe", "pipe", "inherit"] })
  const endpoint = await new Promise<string>((resolve, reject) => {
    child.stdout.once("data", (line: Uint8Array) => resolve(new TextDecoder().decode(line).trim()))
    child.once("exit", (code) => reject(new Error(`the S3 peer ended with exit code ${code}`)))
  })
  return { endpoint, stop: () => child.stdin.end() }
}

const backends = {
  memory: () => Promise.resolve({ backend: Memory.make(), stop: () => {} }),
  disk: (folder: string) => Promise.resolve({ backend: Disk.make({ root: folder }), stop: () => {} }),
  S3: async () => {
    const { endpoint, stop } = await startPeer()
    return { backend: S3.make({ bucket: "test", region: "us-east-1", endpoint, ...peerCredentials }), stop }
  },
} as const

/** Opens a fresh store; on disk in `folder`. */
export const openPlace = async (name: PlaceName, folder: string, options?: StoreOptions): Promise<Place> => {
  const requests = new Map<string, number>()
  const { backend, stop } = await backends[name](folder)
  const store = await openBackend(Effect.map(backend, (made) => counted(made, requests)), options)
  return {
    store,
    step: async (work, run) => {
      requests.clear()
      const result = await measured(work, run)
      return { ...result, requests: Object.fromEntries(requests) }
    },
    end: async () => {
      await store.close()
      stop()
    },
  }
}

/** Does one step, and says what it took of this process. */
export const measured = async (work: number, run: () => Promise<unknown>): Promise<WorkerResult> => {
  const before = process.cpuUsage()
  const start = performance.now()
  await run()
  const ms = performance.now() - start
  const { user, system } = process.cpuUsage(before)
  const high = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))
  return { ms, work, peak: Number(high![1]) * 1024, cpu: (user + system) / 1e6 }
}

/** A message of about 300 characters, another one for each `n`, and about as hard to compress as prose. */
export const message = (n: number): string =>
  Array.from({ length: 50 }, (_, i) => (((n + 1) * 7919 + i * i * 104_729) % 4001).toString(36) + endings[i % 3]).join(
    " ",
  )

const endings = ["ing", "ed", ""]
