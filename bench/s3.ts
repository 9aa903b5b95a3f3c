/**
 * How fast is S3 through Holdfast, beside the clients that a program could use instead and beside signed `fetch` with
 * nothing around it?
 *
 * The service is `workers/s3-sink.ts`, in a process of its own, which costs as little as one can; then Ceph's gateway,
 * where it is installed. Bars and limits are what Holdfast aims at; a run says which it reaches.
 *
 * @module
 */
import { execFileSync, spawn } from "node:child_process"
import { gzipSync } from "node:zlib"
import { startServers } from "../scripts/servers/mod.ts"
import { bun, root } from "../scripts/tools.ts"
import { wranglerConditions, wranglerDefines } from "../scripts/worker.ts"
import { compare, type Limit, measure, median, type Report, type Variant } from "./harness.ts"
import type { Target } from "./workers/s3-client.ts"

/** What the measurements take. */
export interface S3BenchOptions {
  readonly rounds: number
  /** Bytes of the large object. */
  readonly bytes: number
  /** Number of small objects. */
  readonly objects: number
  readonly folder: string
}

type Verb = "save" | "load" | "put" | "get"

/** The clients, as `workers/s3.ts` calls them, by the names that are printed. */
const clients = {
  Holdfast: "holdfast",
  "Holdfast, SHA-256": "holdfast-sha256",
  "Bun.S3Client": "bun",
  "AWS SDK": "aws",
  s3mini: "s3mini",
  aws4fetch: "aws4fetch",
  "bare fetch": "bare",
} as const

type Bars = Partial<Record<keyof typeof clients, number>>

/** Starts the sink. It ends with this process. */
const startSink = async (): Promise<{ readonly target: Target; readonly stop: () => void }> => {
  const [program, ...args] = bun()
  const child = spawn(program, [...args, `${root}bench/workers/s3-sink.ts`], { stdio: ["pipe", "pipe", "inherit"] })
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.once("data", (line: Uint8Array) => resolve(Number(new TextDecoder().decode(line))))
    child.once("exit", (code) => reject(new Error(`the sink ended with exit code ${code}`)))
  })
  const target: Target = {
    ...{ endpoint: `http://127.0.0.1:${port}`, bucket: "bench", region: "us-east-1", profile: "aws" },
    ...{ accessKeyId: "bench", secretAccessKey: "bench" },
  }
  return { target, stop: () => child.stdin.end() }
}

const MiB = 2 ** 20

const mebibytes = (bytes: number): string =>
  bytes >= 1024 * MiB ? `${bytes / MiB / 1024} GiB` : `${Math.round(bytes / MiB)} MiB`

/** Variants of a question, each with the ratio that Holdfast is to reach against it. */
const variants = (
  target: Target,
  verb: Verb,
  size: number,
  names: ReadonlyArray<keyof typeof clients>,
  bars: Bars,
): ReadonlyArray<Variant> =>
  names.map((name) => ({
    name,
    worker: "s3.ts",
    args: [verb, clients[name], `${size}`, JSON.stringify(target)],
    runtime: "bun",
    bar: bars[name],
  }))

const all = ["Holdfast", "Bun.S3Client", "AWS SDK", "s3mini", "aws4fetch", "bare fetch"] as const
const few = ["Holdfast", "Bun.S3Client", "AWS SDK", "bare fetch"] as const

/** Peak memory of a transfer, of a small and a large one. */
const memory = async (target: Target, options: S3BenchOptions): Promise<ReadonlyArray<Limit>> => {
  const sizes = [256 * MiB, 4096 * MiB]
  const verbs = ["save", "load"] as const
  const asked = verbs.flatMap((verb) => sizes.flatMap((size) => variants(target, verb, size, ["Holdfast"], {})))
  const results = await measure(asked, { ...options, rounds: 1 })
  const peaks = results.map((runs) => Math.round(Math.max(...runs.map(({ peak }) => peak)) / MiB))
  return verbs.flatMap((verb, i): ReadonlyArray<Limit> => {
    const [small, large] = [peaks[2 * i]!, peaks[2 * i + 1]!]
    return [
      { what: `peak memory of a ${verb} of 4 GiB, Bun`, value: large, unit: "MiB", most: 192 },
      { what: `the same beyond that of 256 MiB, Bun`, value: large - small, unit: "MiB", most: 32 },
    ]
  })
}

/** What it takes to load the S3 entry, in time and in a Worker's bundle. */
const weight = async (options: S3BenchOptions): Promise<ReadonlyArray<Limit>> => {
  const imports = ["entry", "floor"].map((name): Variant => ({
    name,
    worker: "s3-import.ts",
    args: [name],
    runtime: "bun",
  }))
  const [entry, floor] = await measure(imports, { ...options, rounds: Math.max(options.rounds, 9) })
  const [program, ...args] = bun()
  const conditions = wranglerConditions.map((condition) => `--conditions=${condition}`)
  const defines = Object.entries(wranglerDefines).map(([name, value]) => `--define=${name}=${value}`)
  const flags = ["build", "--target=browser", "--minify", ...conditions, ...defines, "src/backends/s3/mod.ts"]
  const bundle = gzipSync(execFileSync(program, [...args, ...flags], { cwd: root, maxBuffer: 2 ** 26 }), { level: 9 })
  const ratios = entry!.map(({ ms }, i) => ms / floor![i]!.ms)
  return [
    {
      what: "cold import of the S3 entry, beside its Effect modules and the signer",
      value: median(ratios),
      unit: "×",
      most: 1.5,
    },
    { what: "the S3 entry bundled for a Worker, gzipped", value: bundle.length / 1000, unit: "kB", most: 60 },
  ]
}

/** Runs the questions about S3. */
export const s3 = async (options: S3BenchOptions): Promise<Pick<Report, "questions" | "limits">> => {
  const questions: Array<Report["questions"][number]> = []
  const limits: Array<Limit> = []
  const { bytes, objects } = options
  const ask = async (question: string, unit: "MB/s" | "objects/s", asked: ReadonlyArray<Variant>): Promise<void> => {
    questions.push({ question, rows: await compare(question, unit, asked, options) })
  }

  const sink = await startSink()
  try {
    const { target } = sink
    const [large, part] = [mebibytes(bytes), Math.min(bytes, 64 * MiB)]
    const smalls: Bars = { "AWS SDK": 4, "bare fetch": 0.6 }
    await ask(`save ${mebibytes(part)}`, "MB/s", variants(target, "save", part, all, {}))
    await ask(`load ${mebibytes(part)}`, "MB/s", variants(target, "load", part, all, {}))
    const saves: Bars = { "Bun.S3Client": 1.05, "AWS SDK": 4, "bare fetch": 0.85 }
    await ask(`save ${large}`, "MB/s", variants(target, "save", bytes, few, saves))
    const hashed = variants(target, "save", bytes, ["Holdfast, SHA-256", "bare fetch"], { "bare fetch": 0.5 })
    await ask(`save ${large} with SHA-256`, "MB/s", hashed)
    await ask(
      `load ${large}`,
      "MB/s",
      variants(target, "load", bytes, few, { "Bun.S3Client": 1.5, "bare fetch": 0.85 }),
    )
    await ask("save 4 KiB objects, 32 in flight", "objects/s", variants(target, "put", objects, all, smalls))
    await ask("load 4 KiB objects, 32 in flight", "objects/s", variants(target, "get", objects, all, smalls))
    limits.push(...await memory(target, options))
  } finally {
    sink.stop()
  }
  limits.push(...await weight(options))

  const { servers: [ceph], missing } = await startServers(["ceph"])
  for (const { name, why } of missing) console.log(`\nnothing through ${name}: ${why}`)
  if (ceph !== undefined) {
    try {
      const { endpoint, bucket, region, credentials } = ceph
      const target: Target = { endpoint, bucket, region, ...credentials, profile: "ceph" }
      const size = Math.min(bytes, 256 * MiB)
      const names = ["Holdfast", "Bun.S3Client", "bare fetch"] as const
      const saved = variants(target, "save", size, names, { "Bun.S3Client": 2 })
      await ask(`save ${mebibytes(size)} through Ceph, payload signed`, "MB/s", saved)
      await ask(`load ${mebibytes(size)} through Ceph`, "MB/s", variants(target, "load", size, names, {}))
    } finally {
      await ceph.stop()
    }
  }
  return { questions, limits }
}
