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
import { createReadStream, openSync, readFileSync, readSync, statSync } from "node:fs"
import { monitorEventLoopDelay } from "node:perf_hooks"
import process from "node:process"
import zlib from "node:zlib"

const [folder, variant, codec] = process.argv.slice(2) as [string, string, "zstd" | "gzip"]
const corpus = `${folder}/corpus`
const total = statSync(corpus).size
const level = codec === "zstd" ? 3 : 6
const frameSize = 4 * 2 ** 20

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
  const { open } = await import(
    `${process.env["HOLDFAST_CHECKOUT"] ?? "../../"}mod.ts`
  ) as typeof import("../../mod.ts")
  return await open(`file:${folder}/store`, { compression: codec, level })
}

const drain = async (stream: AsyncIterable<Uint8Array>, expected: number): Promise<void> => {
  let bytes = 0
  for await (const piece of stream) bytes += piece.length
  if (bytes !== expected) throw new Error(`${bytes} of ${expected} bytes`)
}

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
    return () => holdfast.save(key, createReadStream(corpus, { highWaterMark: 2 ** 20 }))
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
  "tool-load": () => Promise.resolve(() => tool(`${codec} -dc < ${folder}/store/${key} > /dev/null`)),
}

const work = await variants[variant]!()
const delay = monitorEventLoopDelay({ resolution: 1 })
delay.enable()
const before = process.cpuUsage()
const start = performance.now()
await work()
const ms = performance.now() - start
delay.disable()
const { user, system } = process.cpuUsage(before)
const high = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))
console.log(JSON.stringify({
  ms,
  work: total,
  peak: Number(high![1]) * 1024,
  cpu: toolSeconds > 0 ? toolSeconds : (user + system) / 1e6,
  blocked: delay.max / 1e6,
}))
process.exit(0)
