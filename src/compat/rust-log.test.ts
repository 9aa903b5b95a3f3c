import { afterAll, beforeAll, expect, test } from "bun:test"
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { makeS3Peer, peerCredentials, type PeerServer, type S3Peer } from "../testing/s3/mod.ts"
import * as persist from "./persist.ts"
import { type Directive, formatLine, type LogLevel, parseDirectives, RustLog } from "./rust-log.ts"

let folder = ""
let peer: S3Peer
let server: PeerServer
let env: Record<string, string> = {}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-rust-log-"))
  peer = makeS3Peer({ buckets: ["my-bucket"], seed: 1 })
  server = await peer.listen()
  env = {
    AWS_ENDPOINT_URL_S3: server.url,
    AWS_ACCESS_KEY_ID: peerCredentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: peerCredentials.secretAccessKey,
    AWS_REGION: "us-east-1",
  }
})

afterAll(async () => {
  await server.close()
  await rm(folder, { recursive: true, force: true })
})

/** What goes to standard error while `work` runs. */
const linesOf = async (work: (lines: ReadonlyArray<string>) => Promise<unknown>): Promise<ReadonlyArray<string>> => {
  const lines: Array<string> = []
  const original = console.error
  console.error = (...words: ReadonlyArray<unknown>) => void lines.push(words.join(" "))
  try {
    await work(lines)
  } finally {
    console.error = original
  }
  return lines
}

/** Lines without what differs from run to run. */
const steady = (lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.map((line) =>
    line.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /, "").replace(/duration_ms=\d+/, "duration_ms=N")
      .replace(/request_id=[\w.-]+/, "request_id=ID").replace(/ bytes=[1-9]\d*/, " bytes=N")
      .replace(new URL(server.url).host, "HOST").replaceAll(folder, "DIR")
  )

const onS3 = (RUST_LOG: string, more: Record<string, string> = {}) => ({
  storage_mode: "s3",
  s3_bucket: "my-bucket",
  env: { ...env, RUST_LOG, ...more },
})

test("row 159: directives are read as env_logger reads them; what is none of them is told", () => {
  const read: ReadonlyArray<readonly [text: string, directives: ReadonlyArray<Directive>]> = [
    ["debug", [{ target: "", level: "debug" }]],
    ["WaRn", [{ target: "", level: "warn" }]],
    ["off", [{ target: "", level: "off" }]],
    ["persist_core", [{ target: "persist_core", level: "trace" }]],
    ["persist_core=", [{ target: "persist_core", level: "trace" }]],
    ["persist_core=DEBUG", [{ target: "persist_core", level: "debug" }]],
    ["persist_core::storage::s3 = info", [{ target: "persist_core::storage::s3", level: "info" }]],
    ["warn, aws_sdk_s3=trace ,,persist_core=off", [
      { target: "", level: "warn" },
      { target: "aws_sdk_s3", level: "trace" },
      { target: "persist_core", level: "off" },
    ]],
    ["", []],
    [" , ", []],
  ]
  for (const [text, directives] of read) expect(parseDirectives(text)).toEqual({ directives, ignored: [] })
  const bad = ["a=loud", "a=warn=info", "=debug", "a[span]=info", "debug/only", "1", "a=1"]
  for (const text of bad) {
    expect(parseDirectives(`${text},error`)).toEqual({ directives: [{ target: "", level: "error" }], ignored: [text] })
  }
  const lines: Array<string> = []
  new RustLog(bad.slice(0, 2).join(","), (line) => lines.push(line))
  expect(lines).toEqual(['warning: RUST_LOG: ignored "a=loud", "a=warn=info"'])
})

test("row 159: the longest matching target decides, then the last; without a match nothing is written", () => {
  const levels: ReadonlyArray<LogLevel> = ["error", "warn", "info", "debug", "trace"]
  const written = (text: string, target: string): number =>
    levels.filter((level) => new RustLog(text).writes(level, target)).length
  const table: ReadonlyArray<readonly [text: string, target: string, levels: number]> = [
    ["debug", "persist_core::storage::s3", 4],
    ["persist_core=debug", "persist_core::storage::s3", 4],
    ["persist_core=debug", "aws_sdk_s3", 0],
    ["aws_sdk=debug", "aws_sdk_s3", 4],
    ["aws_sdk_s3", "aws_sdk_s3", 5],
    ["aws_sdk_s3x", "aws_sdk_s3", 0],
    ["error,persist_core=info", "aws_sdk_s3", 1],
    ["persist_core::storage=warn,persist_core=trace", "persist_core::storage::local", 2],
    ["persist_core::storage=warn,persist_core=trace", "persist_core::snapshot", 5],
    ["persist_core=off,info", "persist_core::snapshot", 0],
    ["debug,error", "persist_core::snapshot", 1],
    ["off", "persist_core::snapshot", 0],
  ]
  for (const [text, target, levels] of table) {
    expect([text, target, written(text, target)]).toEqual([text, target, levels])
  }
})

test("row 159: a line has the form of tracing, and stays one line whatever a path holds", () => {
  const time = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 6))
  expect(
    formatLine(time, "info", "persist_core", "done", { key: "a/b.json.gz", bytes: 3, exists: true, base: undefined }),
  )
    .toBe("2026-01-02T03:04:05.006Z  INFO persist_core: done key=a/b.json.gz bytes=3 exists=true")
  expect(formatLine(time, "debug", "t", "done")).toBe("2026-01-02T03:04:05.006Z DEBUG t: done")
  const odd = 'a b\n2026 ERROR \u001b[31m\u202e\u2028\u0085 "\\'
  expect(formatLine(time, "debug", "t", "done", { odd, none: "", sum: "a=b", word: "hé" })).toBe(
    "2026-01-02T03:04:05.006Z DEBUG t: done " +
      'odd="a b\\n2026 ERROR \\u001b[31m\\u{202e}\\u{2028}\\u{85} \\"\\\\" none="" sum="a=b" word=hé',
  )
})

test("rows 159, 238: persist_core=debug tells when each call on the disk begins and ends, with its bytes and outcome", async () => {
  const options = { local_base_path: folder, env: { RUST_LOG: "persist_core=debug" } }
  const path = "calls/1.json.gz"
  const lines = await linesOf(async () => {
    await persist.snapshot({ n: 1 }, path, options)
    await persist.restore(path, options)
    await persist.restore(path, { ...options, loads: (json: string) => json })
    await persist.get_metadata(path, options)
    await persist.verify_snapshot(path, options)
    await persist.snapshot_exists(path, options)
    await persist.delete_snapshot(path, options)
    await persist.health_check(options)
    await persist.restore(path, options).catch(() => undefined)
  })
  const at = "persist_core::storage::local:"
  const where = `base=DIR path=${path}`
  const call = (level: string, operation: string, more = "") => [
    `${level} ${at} ${operation} started ${where}`,
    `DEBUG ${at} ${operation} finished ${where}${more} duration_ms=N`,
  ]
  expect(steady(lines)).toEqual([
    ...call(" INFO", "snapshot", " bytes=N"),
    ...call(" INFO", "restore", " bytes=N"),
    ...call(" INFO", "restore", " bytes=N"),
    ...call(" INFO", "get_metadata", " bytes=N"),
    ...call(" INFO", "verify_snapshot", " bytes=N"),
    ...call("DEBUG", "snapshot_exists", " exists=true"),
    ...call(" INFO", "delete_snapshot"),
    ...call("DEBUG", "health_check", " status=ok").map((line) => line.replace(path, "health-check.test")),
    ` INFO ${at} restore started ${where}`,
    `ERROR ${at} restore failed ${where} error="Storage error: Snapshot not found: ${path}" duration_ms=N`,
  ])
})

test("row 159: bytes are those of the file; info and error leave the rest out; off and an unset variable write nothing", async () => {
  const path = join(folder, "levels.json.gz")
  const work = (RUST_LOG?: string) =>
    linesOf(async () => {
      const env = RUST_LOG === undefined ? {} : { RUST_LOG }
      await persist.snapshot({ n: 1 }, path, { env })
      await persist.restore(`${path}.gone`, { env }).catch(() => undefined)
    })
  const [, saved] = await work("debug")
  expect(saved).toContain(` bytes=${(await stat(path)).size} `)
  expect((await work("persist_core=info")).map((line) => /(\w+) persist_core\S+ (\w+ \w+)/.exec(line)!.slice(1)))
    .toEqual([
      ["INFO", "snapshot started"],
      ["INFO", "restore started"],
      ["ERROR", "restore failed"],
    ])
  expect((await work("error")).length).toBe(1)
  for (const nothing of [undefined, "", "off", "aws_sdk=trace", "persist_core=off,debug"]) {
    expect(await work(nothing)).toEqual([])
  }
})

test("row 159: a directive that is none is told once, however many calls follow", async () => {
  const env = { RUST_LOG: "persist_core=info,persist_core=chatty" }
  const lines = await linesOf(async () => {
    for (let i = 0; i < 3; i++) await persist.delete_snapshot(join(folder, "none"), { env })
  })
  expect(lines.filter((line) => line.startsWith("warning: "))).toEqual([
    'warning: RUST_LOG: ignored "persist_core=chatty"',
  ])
  expect(lines.length).toBe(4)
})

test("row 159: an engine and the adapters write as Persist's modules, by the process's variable", async () => {
  const before = process.env["RUST_LOG"]
  process.env["RUST_LOG"] = "persist_core=debug"
  try {
    const lines = await linesOf(async () => {
      const engine = new persist.SnapshotEngine(new persist.MemoryStorage())
      await engine.save_snapshot('{"n":1}', {}, "a")
      await engine.load_snapshot("a")
      await engine.get_snapshot_metadata("a")
      await engine.verify_snapshot("a")
      await engine.snapshot_exists("a")
      await engine.delete_snapshot("a")
      await engine.load_snapshot("a").catch(() => undefined)
      const canary = () => Promise.reject(new RangeError("canary of another's error"))
      const broken = new persist.SnapshotEngine({ save: canary, load: canary, exists: canary, delete: canary })
      await broken.delete_snapshot("b").catch(() => undefined)
      const files = new persist.LocalFileStorage(folder)
      await files.save(new Uint8Array(7), "f")
      await files.load("f")
      await files.exists("f")
      await files.delete("f")
    })
    const call = (target: string, where: string) => (level: string, operation: string, more = "") => [
      `${level} persist_core::${target}: ${operation} started ${where}`,
      `DEBUG persist_core::${target}: ${operation} finished ${where}${more} duration_ms=N`,
    ]
    const engine = call("snapshot", "path=a")
    const file = call("storage::local", "base=DIR path=f")
    expect(steady(lines)).toEqual([
      ...engine(" INFO", "save_snapshot", " bytes=N"),
      ...engine(" INFO", "load_snapshot", " bytes=N"),
      ...engine(" INFO", "get_snapshot_metadata", " bytes=N"),
      ...engine(" INFO", "verify_snapshot", " bytes=N"),
      ...engine("DEBUG", "snapshot_exists", " exists=true"),
      ...engine(" INFO", "delete_snapshot"),
      engine(" INFO", "load_snapshot")[0]!,
      'ERROR persist_core::snapshot: load_snapshot failed path=a error="Storage error: Snapshot not found: a" duration_ms=N',
      engine(" INFO", "delete_snapshot")[0]!.replace("path=a", "path=b"),
      "ERROR persist_core::snapshot: delete_snapshot failed path=b error=RangeError duration_ms=N",
      ...file(" INFO", "save", " bytes=N"),
      ...file(" INFO", "load", " bytes=N"),
      ...file("DEBUG", "exists", " exists=true"),
      ...file(" INFO", "delete"),
    ])
  } finally {
    if (before === undefined) delete process.env["RUST_LOG"]
    else process.env["RUST_LOG"] = before
  }
})

test("row 159: aws_sdk=debug tells of each request to S3, and which attempt it is", async () => {
  const key = "agents/a b/1.json.gz"
  const request = (level: string, method: string, rest: string) =>
    `${level} aws_sdk_s3: ${rest.startsWith("error") ? "no answer" : "answer"} method=${method} host=HOST ` +
    `path=/my-bucket/agents/a%20b/1.json.gz ${rest.startsWith("attempt") ? rest : `attempt=1 ${rest}`}`
  const ok = (status: number) => `status=${status} request_id=ID duration_ms=N`
  const lines = await linesOf(async () => {
    await persist.snapshot({ n: 1 }, key, onS3("aws_sdk=debug"))
    await persist.snapshot_exists(key, onS3("aws_sdk=debug"))
    peer.script([{ operation: "GetObject", times: 1, fault: { kind: "error", status: 503, code: "SlowDown" } }])
    await persist.restore(key, onS3("aws_sdk_s3=debug"))
    peer.script([])
    await persist.delete_snapshot(key, onS3("aws_sdk=debug"))
    await persist.health_check(onS3("aws_sdk=debug"))
  })
  expect(steady(lines.slice(0, -1))).toEqual([
    request("DEBUG", "PUT", ok(200)),
    request("DEBUG", "HEAD", ok(200)),
    request(" WARN", "GET", ok(503)),
    request("DEBUG", "GET", `attempt=2 ${ok(206)}`),
    request("DEBUG", "DELETE", ok(204)),
  ])
  expect(steady(lines.slice(-1))[0]).toMatch(
    /^DEBUG aws_sdk_s3: answer method=GET host=HOST path=\/my-bucket\/? query=[\w,-]*prefix[\w,-]* attempt=1 status=200 /,
  )
  const ids = peer.requests.slice(-lines.length).map(({ method }) => method)
  expect(ids).toEqual(["PUT", "HEAD", "GET", "GET", "DELETE", "GET"])
  const warned = await linesOf(async (lines) => {
    await persist.snapshot_exists(key, onS3("persist_core=off,aws_sdk_s3=warn"))
    const closed = await peer.listen()
    await closed.close()
    const gone = { PERSIST_S3_MAX_RETRIES: "0", AWS_ENDPOINT_URL_S3: closed.url }
    await persist.restore(key, onS3("aws_sdk_s3=warn", gone)).catch(() => undefined)
    peer.script([{ operation: "GetObject", fault: { kind: "hold" } }])
    const slow = { PERSIST_S3_MAX_RETRIES: "0", PERSIST_S3_TIMEOUT: "0.2" }
    await persist.restore(key, onS3("aws_sdk_s3=warn", slow)).catch(() => undefined)
    peer.script([])
    // The call does not wait for the request that it has given up.
    while (lines.length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
  })
  expect(warned.length).toBe(2)
  expect(warned[0]).toMatch(
    / WARN aws_sdk_s3: no answer method=GET .* error="127\.0\.0\.1:\d+ cannot be reached: network failure" /,
  )
  expect(warned[1]).toMatch(/ WARN aws_sdk_s3: no answer method=GET .* error="given up, or out of time" /)
})

test("row 159: no line holds a secret: of credentials, signatures, parameters, headers, keys, states or their errors", async () => {
  const canary = "c4n4ry"
  const strange = `/+=${canary}`
  const key = "secrets/1.json.gz"
  const encryption_key = new TextEncoder().encode(canary.repeat(6).slice(0, 32))
  const temporary = makeS3Peer({
    buckets: ["my-bucket"],
    seed: 2,
    credentials: [{ accessKeyId: `AKIA${canary}`, secretAccessKey: strange, sessionToken: `token${strange}` }],
  })
  const listening = await temporary.listen()
  const secret = {
    AWS_ENDPOINT_URL_S3: listening.url,
    AWS_ACCESS_KEY_ID: `AKIA${canary}`,
    AWS_SECRET_ACCESS_KEY: strange,
    AWS_SESSION_TOKEN: `token${strange}`,
  }
  try {
    const lines = await linesOf(async () => {
      for (const more of [secret, { ...secret, AWS_ENDPOINT_URL_S3: server.url }, {}]) {
        const options = { ...onS3("trace", more), encryption_key }
        const agent = { api_key: canary }
        await persist.snapshot(agent, key, { ...options, description: canary }).catch(() => undefined)
        await persist.restore(key, options).catch(() => undefined)
        await persist.restore(key, {
          ...options,
          secrets_map: { KEY: canary },
          loads: () => {
            throw new SyntaxError(`${canary} is not valid JSON`)
          },
        }).catch(() => undefined)
        await persist.verify_snapshot(key, options).catch(() => undefined)
        await persist.health_check(options)
        await persist.restore(key, { ...options, encryption_key: new Uint8Array(32) }).catch(() => undefined)
        await persist.delete_snapshot(key, options).catch(() => undefined)
      }
      const damaged = join(folder, "damaged.json.gz")
      for (
        const text of [
          `{"metadata":"${canary}"`,
          `{"metadata":{"format_version":1,"agent_id":"${canary}"},"agent_state":${canary}}`,
        ]
      ) {
        await writeFile(damaged, text)
        await persist.restore(damaged, { env: { RUST_LOG: "trace" } }).catch(() => undefined)
      }
    })
    expect(lines.filter((line) => line.includes(" aws_sdk_s3: ")).length).toBeGreaterThan(10)
    expect(lines.filter((line) => line.includes("persist_core")).length).toBeGreaterThan(30)
    expect(lines.some((line) => line.includes("error=SyntaxError"))).toBe(true)
    expect(lines.some((line) => line.includes("status=403"))).toBe(true)
    for (const line of lines) {
      expect(line).not.toContain(canary)
      expect(line).not.toMatch(/AKIA|AWS4|signature|authorization|x-amz|%2F%2B|[0-9a-f]{64}/i)
      expect(line).not.toContain(peerCredentials.secretAccessKey)
      expect(line).not.toContain(peerCredentials.accessKeyId)
    }
  } finally {
    await listening.close()
  }
})
