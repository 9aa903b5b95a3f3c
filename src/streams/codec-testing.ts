/** What the tests of the codecs share. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import process from "node:process"
import { test } from "bun:test"
import type { Pull } from "./codec-input.ts"
import type { Implementation } from "./codec-native.ts"
import { FormatError } from "./format-error.ts"

export const implementations: ReadonlyArray<Implementation> = ["native", "portable"]

/** The soak runs the long counts: HOLDFAST_SOAK=1. */
export const soak: boolean = process.env["HOLDFAST_SOAK"] === "1"

/** A generator of numbers in [0, below), the same for the same seed. */
export const random = (seed: number): (below: number) => number => {
  let state = seed >>> 0
  return (below) => {
    state = state + 0x9e3779b9 >>> 0
    let x = Math.imul(state ^ state >>> 16, 0x85ebca6b)
    x = Math.imul(x ^ x >>> 13, 0xc2b2ae35)
    return ((x ^ x >>> 16) >>> 0) % below
  }
}

/** Bytes that compress to about a third, as text does. */
export const text = (length: number, seed: number = 1): Uint8Array => {
  const next = random(seed)
  const words = Array.from({ length: 200 }, () => Array.from({ length: 2 + next(8) }, () => 97 + next(26)))
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length;) {
    const word = words[Math.min(next(200), next(200))]!
    for (let i = 0; i < word.length && at < length; i++) bytes[at++] = word[i]!
    if (at < length) bytes[at++] = 32
  }
  return bytes
}

/** Delivers `bytes` in chunks of `size`, in one buffer that is overwritten each time. */
export const pullOf = (bytes: Uint8Array, size: number = 64 * 1024): Pull => {
  const buffer = new Uint8Array(Math.max(1, Math.min(size, bytes.length)))
  let at = 0
  return () => {
    if (at >= bytes.length) return Promise.resolve(undefined)
    const chunk = bytes.subarray(at, at + buffer.length)
    at += chunk.length
    buffer.set(chunk)
    return Promise.resolve(buffer.subarray(0, chunk.length))
  }
}

/** What a decoder released, and the error it ended in. Anything but a {@link FormatError} is thrown on. */
export const outcome = async (
  decoded: AsyncIterable<Uint8Array>,
): Promise<{ readonly plain: Uint8Array; readonly error: FormatError | undefined }> => {
  const pieces: Array<Uint8Array> = []
  let error: FormatError | undefined
  try {
    for await (const piece of decoded) pieces.push(piece)
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause
    error = cause
  }
  return { plain: join(...pieces), error }
}

/** All that a decoder makes; its error is thrown. */
export const all = async (decoded: AsyncIterable<Uint8Array>): Promise<Uint8Array> => {
  const { plain, error } = await outcome(decoded)
  if (error !== undefined) throw error
  return plain
}

export const join = (...pieces: Array<Uint8Array>): Uint8Array<ArrayBuffer> => {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

/** `expect(a).toEqual(b)` on megabytes takes seconds; this says where they part, or -1. */
export const difference = (a: Uint8Array, b: Uint8Array): number => {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return i
  return a.length === b.length ? -1 : shared
}

/** Runs a command on bytes and returns what it prints. */
export const tool = (command: string, args: ReadonlyArray<string>, input: Uint8Array): Uint8Array => {
  const folder = mkdtempSync(`${tmpdir()}/holdfast-codec-`)
  try {
    // By files: Deno's spawnSync writes all input before it reads any output, and then both sides wait for ever.
    writeFileSync(`${folder}/in`, input)
    const script = 'folder=$0; exec "$@" < "$folder/in" > "$folder/out"'
    const { status, stderr, error } = spawnSync("sh", ["-c", script, folder, command, ...args], { timeout: 30_000 })
    if (error !== undefined) throw error
    if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}: ${stderr}`)
    return new Uint8Array(readFileSync(`${folder}/out`))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const installed = (command: string): boolean => spawnSync(command, ["--help"]).error === undefined

/** A test that needs a command; where it is missing the test is listed as skipped, with the reason. */
export const withTool = (
  command: string,
): (name: string, run: () => Promise<void> | void, timeout?: number) => void =>
  installed(command) ? test : (name, run) => test.skip(`${name} (skipped: ${command} is not installed)`, run)

/** Resident memory in bytes. */
export const rss = (): number => process.memoryUsage().rss
