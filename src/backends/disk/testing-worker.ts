/**
 * A process for the disk backend's tests to work with, and to kill: does one job and says on standard output how
 * far it is. Not part of the package.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { Backend, Upload } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { crc32 } from "../../streams/crc32.ts"
import { FileLock } from "./lock.ts"
import { make } from "./mod.ts"

/** What a worker is told to do. */
export type Job =
  /** Takes the lock file at `path`, says `locked`, and keeps it until it is killed. */
  | { readonly does: "lock"; readonly path: string }
  /** Creates `key`, `times` times under names with a number; says for each whether it won. */
  | { readonly does: "create"; readonly root: string; readonly key: string; readonly times: number }
  /** Adds 1 to the number in `key`, `times` times. */
  | { readonly does: "increment"; readonly root: string; readonly key: string; readonly times: number }
  /** Saves objects in `keys` in turn, each filled with one value, until it is killed; says what was acknowledged. */
  | { readonly does: "write"; readonly root: string; readonly keys: ReadonlyArray<string>; readonly size: number }
  /** Saves one object under a umask. */
  | { readonly does: "put"; readonly root: string; readonly key: string; readonly umask?: number }
  /** Begins an upload, stores a part, says `begun`, and waits to be killed. */
  | { readonly does: "upload"; readonly root: string; readonly key: string }
  /** Stores a part of 100,000 bytes, each its number, in a resumable upload, which it begins unless told its `id`; says that, and how it went. */
  | {
    readonly does: "part"
    readonly root: string
    readonly key: string
    readonly number: number
    readonly id?: string
  }
  /**
   * Stores parts of a resumable upload, which it begins unless told its `id`, over and over; says the id, and
   * for each part `begin` and `stored`, its number and its CRC-32.
   */
  | {
    readonly does: "parts"
    readonly root: string
    readonly key: string
    readonly id?: string
    readonly seed: number
    readonly times: number
  }
  /** Begins a resumable upload of a part, completes or aborts it, and so on until it is killed; says each step. */
  | { readonly does: "ends"; readonly root: string; readonly key: string }
  /** Loads and saves each of `keys`; says how both went. */
  | { readonly does: "try"; readonly root: string; readonly keys: ReadonlyArray<string> }
  /** Loads `key` over and over without reading it, until that fails; says how, and if it works after all is freed. */
  | { readonly does: "hoard"; readonly root: string; readonly key: string }

/** How the job `parts` cuts an object. */
const partCount = 8
const partSize = 60_000

/** A small seeded generator: a failing seed replays the same course. */
export const chance = (seed: number) => (): number => {
  seed = (Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0
  return seed / 2 ** 32
}

const say = (line: string): void => console.log(line)
const forever = (): Promise<never> => new Promise(() => setInterval(() => {}, 60_000))
const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

const put = (
  backend: Backend,
  key: string,
  bytes: Uint8Array,
  condition: { ifMatch?: string; ifNoneMatch?: "*" } = {},
) => backend.put(key, bytes, { crc32: crc32(bytes), writeId: crypto.randomUUID(), ...condition })

const resume = async (backend: Backend, { key, id }: { key: string; id?: string }): Promise<Upload> => {
  const by = "Deno" in globalThis ? "deno" : "bun"
  const head = { writeId: "from a worker", contentType: "text/plain", metadata: { by }, codec: "zstd" }
  const upload = id === undefined
    ? await Effect.runPromise(backend.createUpload(key, { ...head, resumable: true }))
    : { id, key }
  say(upload.id)
  return upload
}

const putPart = (backend: Backend, upload: Upload, number: number, bytes: Uint8Array) =>
  backend.putPart(upload, { number, offset: (number - 1) * bytes.length, crc32: crc32(bytes) }, bytes)

const attempt = async (effect: Effect.Effect<unknown, StoreError>): Promise<string> => {
  try {
    await Effect.runPromise(effect)
    return "won"
  } catch (error) {
    if (!StoreError.is(error)) throw error
    return error.reason
  }
}

const numberIn = async (backend: Backend, key: string): Promise<{ value: number; etag: string }> => {
  const { info, body } = await Effect.runPromise(backend.get(key))
  return { value: Number(await new Response(body).text()), etag: info.etag }
}

const work = async (job: Job, backend: Backend): Promise<unknown> => {
  switch (job.does) {
    case "lock":
      return
    case "create":
      for (let i = 0; i < job.times; i++) {
        say(await attempt(put(backend, `${job.key}${i}`, encode(`${process.pid}`), { ifNoneMatch: "*" })))
      }
      return
    case "increment":
      for (let done = 0; done < job.times;) {
        const { value, etag } = await numberIn(backend, job.key)
        const outcome = await attempt(put(backend, job.key, encode(String(value + 1)), { ifMatch: etag }))
        if (outcome === "won") done++
        else if (outcome !== "PreconditionFailed") throw new Error(outcome)
      }
      return
    case "write":
      for (let i = 0;; i++) {
        const key = job.keys[i % job.keys.length]!
        await Effect.runPromise(put(backend, key, new Uint8Array(job.size).fill(i)))
        say(JSON.stringify({ key, fill: i % 256 }))
      }
    case "put":
      if (job.umask !== undefined) process.umask(job.umask)
      return say(await attempt(put(backend, job.key, encode("saved"))))
    case "upload": {
      const upload = await Effect.runPromise(backend.createUpload(job.key, { writeId: crypto.randomUUID() }))
      const bytes = new Uint8Array(100_000)
      const part = { number: 1, offset: 0, crc32: crc32(bytes) }
      await Effect.runPromise(backend.putPart(upload, part, bytes))
      say("begun")
      return await forever()
    }
    case "part":
      return say(
        await attempt(
          putPart(backend, await resume(backend, job), job.number, new Uint8Array(100_000).fill(job.number)),
        ),
      )
    case "parts": {
      const upload = await resume(backend, job)
      const random = chance(job.seed)
      for (let i = 0; i < job.times; i++) {
        // The first time around each part once, so that there are all.
        const number = 1 + (i < partCount ? i : Math.floor(random() * partCount))
        const bytes = new Uint8Array(partSize).map(() => random() * 256)
        say(`begin ${number} ${crc32(bytes)}`)
        await Effect.runPromise(putPart(backend, upload, number, bytes))
        say(`stored ${number} ${crc32(bytes)}`)
      }
      return
    }
    case "ends":
      for (let i = 0;; i++) {
        const { key } = job
        const bytes = new Uint8Array(partSize).fill(i)
        const upload = await Effect.runPromise(backend.createUpload(key, { writeId: `${i}`, resumable: true }))
        const part = await Effect.runPromise(putPart(backend, upload, 1, bytes))
        say(JSON.stringify({ upload, part, ends: i % 2 ? "abort" : "complete" }))
        await Effect.runPromise(
          i % 2 ? backend.abortUpload(upload) : Effect.asVoid(backend.completeUpload(upload, [part], part)),
        )
      }
    case "try":
      for (const key of job.keys) {
        say(`${await attempt(backend.get(key))} ${await attempt(put(backend, key, encode("x")))}`)
      }
      return
    case "hoard": {
      const bodies: Array<ReadableStream> = []
      const hoard = Effect.map(backend.get(job.key), ({ body }) => bodies.push(body))
      let outcome = "won"
      while (outcome === "won" && bodies.length < 1000) outcome = await attempt(hoard)
      say(outcome)
      for (const body of bodies) await body.cancel()
      return say(await attempt(put(backend, job.key, encode("x"))))
    }
  }
}

if (import.meta.main) {
  const job = JSON.parse(process.argv[2]!) as Job
  if (job.does === "lock") {
    const lock = new FileLock(job.path)
    say(lock.tryLock() ? "locked" : "busy")
    await forever()
  } else {
    const { root } = job
    await Effect.runPromise(Effect.scoped(Effect.flatMap(
      make({ root }),
      (backend) => Effect.promise(() => work(job, backend)),
    )))
    process.exit(0)
  }
}
