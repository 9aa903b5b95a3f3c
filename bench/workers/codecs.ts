/**
 * One measurement of a codec: `codecs.ts FOLDER VARIANT CODEC`. Prints one JSON line. FOLDER holds `corpus`, the bytes
 * that are saved, and what earlier runs left there: `tool.zstd` and the store.
 *
 * Holdfast saves to its disk store in FOLDER with all that belongs to it (SHA-256, checksums, metadata, flushes); the
 * tools write a file. Loads are checked and thrown away.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { openSync, readFileSync, readSync, statSync } from "node:fs"
import { open } from "node:fs/promises"
import process from "node:process"
import zlib from "node:zlib"
import { drain } from "./work.ts"

const [folder, variant, codec] = process.argv.slice(2) as [string, string, "zstd" | "gzip"]
const corpus = `${folder}/corpus`
const total = statSync(corpus).size
const level = codec === "zstd" ? 3 : 6
const frameSize = 4 * 2 ** 20

/** Ranges of 1 MiB, at other places each time. */
const rangeSize = 2 ** 20
const ranges = 400
const rangeAt = (i: number): number => Math.floor((total - rangeSize) * ((i * 0.618) % 1))

/** Processor seconds of the tool, where one ran. */
let toolSeconds = 0

const tool = (command: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const timed = `TIMEFORMAT='%U %S'; time ${command}`
    const child = spawn("bash", ["-c", timed], { stdio: ["ignore", "ignore", "pipe"] })
    let err = ""
    child.stderr.on("data", (chunk: Uint8Array) => void (err += new TextDecoder().decode(chunk)))
    child.on("error", reject)
    child.on("close", (code) => {
      const seconds = err.trim().split("\n").at(-1)!.split(" ").map(Number)
      toolSeconds = seconds[0]! + seconds[1]!
      if (code === 0) resolve()
      else reject(new Error(`${command}: ${err}`))
    })
  })

const store = async () => {
  const holdfast = await import(
    `${process.env["HOLDFAST_CHECKOUT"] ?? "../../"}mod.ts`
  ) as typeof import("../../mod.ts")
  return await holdfast.open(`file:${folder}/store`, { compression: codec, level })
}

/** The corpus as a program of this runtime would pass it. */
const file = async (): Promise<Blob | ReadableStream<Uint8Array>> =>
  "Deno" in globalThis
    ? (await (globalThis as unknown as {
      Deno: { open: (path: string) => Promise<{ readable: ReadableStream<Uint8Array> }> }
    })
      .Deno.open(corpus)).readable
    : Bun.file(corpus)

/** Frame after frame on one thread by the runtime's own synchronous call: what a program does that does not care. */
const oneThread = (): void => {
  const file = openSync(corpus, "r")
  const frame = new Uint8Array(frameSize)
  const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag } = zlib.constants
  for (let read = readSync(file, frame); read > 0; read = readSync(file, frame)) {
    const plain = frame.subarray(0, read)
    if (codec === "gzip") zlib.gzipSync(plain, { level })
    else zlib.zstdCompressSync(plain, { params: { [ZSTD_c_compressionLevel]: level, [ZSTD_c_checksumFlag]: 1 } })
  }
}

const key = `snapshot.${codec}`
const compress = { zstd: `zstd -T2 -3 -q -f`, gzip: `pigz -p2 -6 -k -c` }
const variants: Record<string, () => Promise<() => Promise<unknown>>> = {
  "holdfast-save": async () => {
    const holdfast = await store()
    return async () => holdfast.save(key, await file())
  },
  "tool-save": () =>
    Promise.resolve(() =>
      tool(
        codec === "zstd"
          ? `${compress.zstd} -o ${folder}/tool.zstd ${corpus}`
          : `${compress.gzip} ${corpus} > ${folder}/tool.gzip`,
      )
    ),
  "thread-save": () => Promise.resolve(() => Promise.resolve(oneThread())),
  "holdfast-load": async () => {
    const holdfast = await store()
    return async () => drain((await holdfast.load(key)).body, total)
  },
  "holdfast-range": async () => {
    const holdfast = await store()
    return async () => {
      for (let i = 0; i < ranges; i++) {
        await drain((await holdfast.load(key, { offset: rangeAt(i), length: rangeSize })).body, rangeSize)
      }
    }
  },
  // What the range costs at least: its frames read in one piece and decoded, nothing checked and nothing looked up.
  "frames-range": async () => {
    const { readTail } = await import("../../src/streams/container-tail.ts")
    const { planRange } = await import("../../src/streams/container.ts")
    const file = `${folder}/store/${key}`
    const stored = statSync(file).size
    const handle = await open(file)
    const end = new Uint8Array(Math.min(stored, 2 ** 18))
    await handle.read(end, 0, end.length, stored - end.length)
    const tail = readTail(end, stored)
    if (tail === undefined || "need" in tail) throw new Error("the object has no tail")
    return async () => {
      for (let i = 0; i < ranges; i++) {
        const { offset, length } = planRange(tail, rangeAt(i), rangeSize)
        const frames = new Uint8Array(length)
        await handle.read(frames, 0, length, offset)
        await Bun.zstdDecompress(frames)
      }
    }
  },
  "tool-load": () => Promise.resolve(() => tool(`${codec} -dc < ${folder}/store/${key} > /dev/null`)),
}

const work = await variants[variant]!()
// The longest time between two turns of a timer. Deno's own histogram of delays shows several times that, also while
// nothing runs for long.
let blocked = 0
let turned = performance.now()
const timer = setInterval(() => {
  const now = performance.now()
  blocked = Math.max(blocked, now - turned)
  turned = now
}, 1)
const before = process.cpuUsage()
const start = performance.now()
await work()
const ms = performance.now() - start
clearInterval(timer)
const { user, system } = process.cpuUsage(before)
const high = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))
console.log(JSON.stringify({
  ms,
  work: variant.endsWith("-range") ? ranges * rangeSize : total,
  peak: Number(high![1]) * 1024,
  cpu: toolSeconds > 0 ? toolSeconds : (user + system) / 1e6,
  blocked,
}))
process.exit(0)
