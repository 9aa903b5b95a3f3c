/**
 * Encoding on threads of our own, for Deno: its `node:zlib` runs one-shot calls side by side in name only, and two
 * workers encode 1.5 to 2.5 times as fast as they do. Bun's and Node's calls run on thread pools already.
 *
 * Workers start with the first object that is worth it, or with a frame that would block the event loop. They run
 * while an encoder needs them and a moment longer, since a worker keeps its process alive, and ask for no permissions.
 * Whoever cannot have one goes on without: nothing is sent to a worker that has not said that it is ready.
 *
 * @module
 */
import type { Codec } from "./codec.ts"

/** What encoding a frame takes; the bytes travel to the worker and back, so nobody may look at them meanwhile. */
export interface WorkerJob {
  readonly codec: Codec
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly length: number
  readonly level: number
}

/** The encoded frame, and the buffer that came back. */
export interface WorkerDone {
  /** In a buffer that holds nothing else, and may have room for much more. */
  readonly encoded: Uint8Array<ArrayBuffer>
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** The part of a web worker that is used. */
interface WebWorker {
  onmessage:
    | ((event: { readonly data: WorkerDone & { readonly failed?: string; readonly ready?: boolean } }) => void)
    | null
  onerror: ((event: { readonly preventDefault: () => void }) => void) | null
  postMessage(message: WorkerJob, transfer: ReadonlyArray<ArrayBuffer>): void
  terminate(): void
}

interface Host {
  readonly Worker?: new (url: string, options: { readonly type: "module" }) => WebWorker
  readonly navigator?: { readonly hardwareConcurrency?: number }
}

const host = globalThis as Host

const MiB = 2 ** 20

/** Milliseconds that idle workers are kept for the next object. */
const linger = 200

/** What a worker runs. It has no imports, so that it needs no permission and works from wherever this was loaded. */
const program = `
const zlib = process.getBuiltinModule("node:zlib")
const { Buffer } = process.getBuiltinModule("node:buffer")
const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag } = zlib.constants
const encode = ({ codec, bytes, length, level }) => {
  const plain = bytes.subarray(0, length)
  // Room for all of it in one buffer, whatever the bytes are.
  const chunkSize = length + (length >> 8) + 1024
  if (codec === "gzip") return zlib.deflateRawSync(plain, { level, chunkSize })
  const params = { [ZSTD_c_compressionLevel]: level, [ZSTD_c_checksumFlag]: 1 }
  // A frame that is longer than its window: its length makes no difference but to be in the header, where it is wanted.
  return level <= 8 && length > 2 ** 21
    ? zlib.zstdCompressSync(plain, { params, chunkSize, pledgedSrcSize: length })
    : zlib.zstdCompressSync(plain, { params, chunkSize })
}
self.onmessage = ({ data }) => {
  const { bytes } = data
  try {
    const made = encode(data)
    // A small result lies in the pool that all small buffers of the runtime share.
    const own = made.buffer.byteLength > Buffer.poolSize
    const encoded = own ? new Uint8Array(made.buffer, made.byteOffset, made.length) : new Uint8Array(made)
    self.postMessage({ bytes, encoded }, [bytes.buffer, encoded.buffer])
  } catch (error) {
    self.postMessage({ bytes, failed: String(error) }, [bytes.buffer])
  }
}
self.postMessage({ ready: true })
`

/** A worker and what it is to do, in order. */
interface Thread {
  readonly worker: WebWorker
  readonly waiting: Array<PromiseWithResolvers<WorkerDone>>
  /** Resolves once it can be sent something, or never will be: `false`. */
  readonly begun: PromiseWithResolvers<boolean>
  ready: boolean
}

/** The threads that all encoders of this process share. */
let threads: Array<Thread> = []
let users = 0
let stopping: ReturnType<typeof setTimeout> | undefined

const start = (): Thread => {
  const worker = new host.Worker!(`data:text/javascript,${encodeURIComponent(program)}`, { type: "module" })
  const thread: Thread = { worker, waiting: [], begun: Promise.withResolvers<boolean>(), ready: false }
  worker.onmessage = ({ data }) => {
    if (data.ready === true) {
      thread.ready = true
      thread.begun.resolve(true)
      return
    }
    const job = thread.waiting.shift()
    if (data.failed === undefined) job?.resolve(data)
    else job?.reject(new Error(data.failed))
  }
  worker.onerror = (event) => {
    // What it was sent is lost with it; the save that sent it fails, and the next one goes without.
    event.preventDefault()
    threads = threads.filter((other) => other !== thread)
    thread.ready = false
    thread.begun.resolve(false)
    for (const job of thread.waiting) job.reject(new Error("a worker that encodes has died"))
    worker.terminate()
  }
  return thread
}

const startAll = (): void => {
  try {
    threads = Array.from({ length: Math.min(4, host.navigator?.hardwareConcurrency ?? 1) }, start)
  } catch {
    // A host without workers, or none left: frames are encoded where they are.
    threads = []
  }
}

const stopAll = (): void => {
  for (const { worker, begun } of threads) {
    begun.resolve(false)
    worker.terminate()
  }
  threads = []
}

/** Whether there are workers now, used or lingering. */
export const workersRunning = (): boolean => threads.length > 0

/** Bytes of an object before workers are worth starting: they are ready in about twice the time that encoding takes. */
const worthStarting = 8 * MiB

/** Bytes that take about 25 ms to encode, so that encoding more of them here would be felt. */
const felt = ({ codec, level }: WorkerJob): number => {
  if (codec === "gzip") return level <= 3 ? 2 * MiB : MiB
  return level <= 4 ? 4 * MiB : level <= 9 ? MiB : 64 * 1024
}

/** One encoder's share in the threads, in Deno. */
export class EncodeWorkers {
  #bytes = 0
  #using = false

  /** What a thread has made of the frame; `undefined`: encode it here. */
  async encode(job: WorkerJob): Promise<WorkerDone | undefined> {
    if (host.Worker === undefined) return undefined
    this.#bytes += job.length
    if (job.length <= felt(job) && this.#bytes < worthStarting) return undefined
    if (!this.#using) {
      this.#using = true
      users++
      clearTimeout(stopping)
      if (threads.length === 0) startAll()
    }
    // Frames that are encoded here meanwhile, one after the other, would block the event loop and hide the first ready.
    if (threads.length > 0 && !threads.some(({ ready }) => ready)) {
      await Promise.race(threads.map(({ begun }) => begun.promise))
    }
    const [thread] = threads.filter(({ ready }) => ready).sort((a, b) => a.waiting.length - b.waiting.length)
    if (thread === undefined) return undefined
    const done = Promise.withResolvers<WorkerDone>()
    thread.waiting.push(done)
    thread.worker.postMessage(job, [job.bytes.buffer])
    return await done.promise
  }

  /** The encoder has no more frames. */
  release(): void {
    if (!this.#using) return
    this.#using = false
    if (--users > 0) return
    clearTimeout(stopping)
    stopping = setTimeout(stopAll, linger)
  }
}
