/**
 * Saves a snapshot of this project's dependencies to a store on the local disk, loads it back, and compares.
 *
 * The bytes are real: a tar of node_modules with the two runtimes in it, more than 256 MB, of a length that
 * nobody knows before it ends.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import process from "node:process"
import { install, root } from "./tools.ts"

install()
const { open } = await import("../mod.ts")

const keep = process.argv.includes("--keep")
const folder = await mkdtemp(`${tmpdir()}/holdfast-demo-`)
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1).padStart(8) + " MB"
const rate = (bytes: number, ms: number): string => `${(bytes / 1e3 / ms).toFixed(0).padStart(5)} MB/s`

/** A tar of node_modules, hashed on its way by code that Holdfast has no part in. */
const snapshot = () => {
  const tar = spawn("tar", ["-cf", "-", "node_modules"], { cwd: root, stdio: ["ignore", "pipe", "inherit"] })
  const hash = createHash("sha256")
  const ended = new Promise<void>((resolve, reject) => {
    tar.on("error", reject)
    tar.on("close", (code) => code === 0 ? resolve() : reject(new Error(`tar ended with exit code ${code}`)))
  })
  ended.catch(() => undefined)
  const bytes = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of tar.stdout as AsyncIterable<Uint8Array>) {
      hash.update(chunk)
      yield chunk
    }
    await ended
  }
  return { bytes: bytes(), digest: () => hash.digest("hex") }
}

try {
  await using store = await open(`file:${folder}`)
  const key = "snapshots/node_modules.tar"

  const source = snapshot()
  const saveStart = performance.now()
  const info = await store.save(key, source.bytes, { contentType: "application/x-tar" })
  const saveTime = performance.now() - saveStart
  const saved = source.digest()
  const length = info.length ?? info.size
  console.log(`saved   ${megabytes(length)} ${rate(length, saveTime)}  durable: survives a power cut from here on`)
  console.log(`stored  ${megabytes(info.size)}            ${info.codec ?? "as it is"}; \`zstd -d\` opens it`)

  const hash = createHash("sha256")
  const loadStart = performance.now()
  const loaded = await store.load(key)
  let bytes = 0
  for await (const chunk of loaded.body) {
    hash.update(chunk)
    bytes += chunk.length
  }
  const loadTime = performance.now() - loadStart
  console.log(`loaded  ${megabytes(bytes)} ${rate(bytes, loadTime)}  every frame and the whole checked on the way`)

  const same = saved === hash.digest("hex") && bytes === length
  console.log(`SHA-256 ${saved}  ${same ? "equal" : "DIFFERENT"}`)
  console.log(`file    ${folder}/${key}${keep ? "" : "  (removed again; run with --keep to look at it)"}`)
  if (!same) process.exitCode = 1
  if (bytes < 256e6) {
    console.error(`the snapshot has only ${megabytes(bytes)}; 256 MB were wanted`)
    process.exitCode = 1
  }
} finally {
  if (!keep) await rm(folder, { recursive: true })
}
