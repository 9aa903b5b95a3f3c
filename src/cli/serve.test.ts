/**
 * `holdfast serve` in a process of its own, and its clients in theirs. The transfers are of 128 MiB; `HOLDFAST_SOAK=1`:
 * 1 GiB.
 */
import { afterAll, expect, test } from "bun:test"
import type { ChildProcessWithoutNullStreams } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { readdir, readFile, stat, writeFile } from "node:fs/promises"
import process from "node:process"
import { startServers } from "../../scripts/servers/mod.ts"
import { bytes } from "../backends/conformance.ts"
import { Wire } from "../http/testing.ts"
import { type Outcome, outcome, patience, until, Workplace } from "./testing.ts"

const MiB = 2 ** 20
const soak = process.env["HOLDFAST_SOAK"] === "1"
const size = (soak ? 1024 : 128) * MiB
/** For tests that move that much. */
const longPatience = soak ? 15 * patience : 3 * patience

/** Peak memory that a server may have, as `docs/architecture.md` has it for a save or a load. */
const memoryBudget = ("Deno" in globalThis ? 320 : 192) * MiB

/** A server that runs, and can be ended and begun anew at the same address. */
class Server implements AsyncDisposable {
  readonly #work: Workplace
  readonly #args: ReadonlyArray<string>
  #child: ChildProcessWithoutNullStreams
  #ended: Promise<Outcome>
  readonly url: string
  /** Most memory that any of its processes had. */
  peak = 0

  private constructor(work: Workplace, args: ReadonlyArray<string>, begun: Begun) {
    this.#work = work
    this.#args = args
    this.#child = begun.child
    this.#ended = begun.ended
    this.url = begun.url
  }

  static async start(work: Workplace, ...args: ReadonlyArray<string>): Promise<Server> {
    return new Server(work, args, await begin(work, ["--port", "0", ...args]))
  }

  /** Ends it with SIGTERM, as whoever runs it would. What it left behind. */
  async stop(): Promise<Outcome> {
    const memory = await readFile(`/proc/${this.#child.pid}/status`, "utf8").catch(() => "")
    this.peak = Math.max(this.peak, Number(/^VmHWM:\s+(\d+) kB$/m.exec(memory)?.[1] ?? 0) * 1024)
    this.#child.kill("SIGTERM")
    return await this.#ended
  }

  async restart(): Promise<void> {
    await this.stop()
    const begun = await begin(this.#work, ["--port", new URL(this.url).port, ...this.#args])
    this.#child = begun.child
    this.#ended = begun.ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL")
    await this.#ended
  }
}

interface Begun {
  readonly child: ChildProcessWithoutNullStreams
  readonly ended: Promise<Outcome>
  readonly url: string
}

/** Starts a server and waits until it says where it is. */
const begin = async (work: Workplace, args: ReadonlyArray<string>): Promise<Begun> => {
  const child = work.start("serve", ...args)
  const ended = outcome(child)
  const said = new Promise<string>((resolve) =>
    child.stdout.once("data", (chunk: Uint8Array) => resolve(new TextDecoder().decode(chunk).trim()))
  )
  const url = await Promise.race([said, ended.then(({ err }) => Promise.reject(new Error(`it has ended: ${err}`)))])
  return { child, ended, url }
}

const logOf = ({ err }: Outcome): ReadonlyArray<Record<string, unknown>> =>
  err.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line))

test("serve token makes tokens, and serve lets in who has one, as far as its line says", async () => {
  await using work = await Workplace.make()
  const made = await work.run("serve", "token", "tokens.txt")
  const second = await work.run("serve", "token", "tokens.txt", "--read-only", "--prefix", "public/")
  expect([made.code, second.code, made.err + second.err]).toEqual([0, 0, ""])
  const [all, some] = [made.out.trim(), second.out.trim()]
  const file = await readFile(work.at("tokens.txt"), "utf8")
  expect(file).toMatch(/^sha256:[0-9a-f]{64} write\nsha256:[0-9a-f]{64} read public\/\n$/)
  expect([file.includes(all), file.includes(some)]).toEqual([false, false])
  expect((await stat(work.at("tokens.txt"))).mode & 0o077).toBe(0)

  await using server = await Server.start(work, "--token-file", "tokens.txt")
  const as = (token: string, command: string): Promise<Outcome> =>
    work.shell(`${command} --store ${server.url}`, { HOLDFAST_TOKEN: token })
  expect(await as(all, "echo hello | $holdfast save public/a")).toMatchObject({ code: 0, err: "" })
  expect(await as(some, "$holdfast load public/a")).toMatchObject({ code: 0, out: "hello\n" })
  expect((await as(some, "echo no | $holdfast save public/a")).code).toBe(3)
  expect((await as(some, "$holdfast ls")).code).toBe(3)
  expect((await as(all, "$holdfast ls")).out).toContain("public/a")
  expect((await as("", "$holdfast ls")).code).toBe(3)

  const { code, err } = await server.stop()
  expect(code).toBe(143)
  for (const secret of [all, some, "public/"]) expect(err).not.toContain(secret)
  expect((await readdir(work.path)).toSorted()).toEqual(["holdfast-data", "tokens.txt"])
}, patience)

test("serve refuses what would open the store to everybody, and what it cannot read or listen on", async () => {
  await using work = await Workplace.make()
  await writeFile(work.at("none.txt"), "# nobody\n")
  await writeFile(work.at("wrong.txt"), "my-secret-token\n")
  await using server = await Server.start(work)
  const { port } = new URL(server.url)
  const wrong: ReadonlyArray<readonly [args: ReadonlyArray<string>, says: RegExp]> = [
    [["--host", "0.0.0.0"], /everybody who reaches 0\.0\.0\.0/],
    [["--host", "::"], /everybody/],
    [["--token-file", "none.txt"], /there are none/],
    [["--token-file", "wrong.txt"], /line 1 is not like/],
    [["--token-file", "missing.txt"], /no such file/],
    [["--token-hash", "my-secret-token"], /not like/],
    [["--port", port], /another program does/],
    [["--store", "ftp://x"], /not known/],
  ]
  for (const [args, says] of wrong) {
    const { code, err } = await work.run("serve", ...(args.includes("--port") ? [] : ["--port", "0"]), ...args)
    expect({ args, code }).toEqual({ args, code: 2 })
    expect(err).toMatch(says)
    expect(err).not.toContain("my-secret-token")
  }
}, patience)

test("SIGTERM lets a request that is on hand end, and takes no further ones", async () => {
  await using work = await Workplace.make()
  await using server = await Server.start(work)
  const data = bytes(1, 24 * MiB)
  const sent = Promise.withResolvers<void>()
  const going = Promise.withResolvers<void>()
  const body = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      controller.enqueue(data.subarray(0, MiB))
      sent.resolve()
      await going.promise
      controller.enqueue(data.subarray(MiB))
      controller.close()
    },
  }, { highWaterMark: 0 })
  const save = fetch(`${server.url}/o/snapshot`, { method: "PUT", body, duplex: "half" } as RequestInit)
  await sent.promise
  await until("the upload has begun", async () => {
    const text = await (await fetch(new URL("/metrics", server.url))).text()
    return /^holdfast_http_requests_in_flight 2$/m.test(text)
  })
  const ended = server.stop()
  const { port } = new URL(server.url)
  await until("it takes no further requests", () =>
    new Promise((resolve) => {
      const { socket } = new Wire(Number(port))
      // Deno listens on (deno#36809), and refuses what is asked.
      socket.once("data", (text) => {
        resolve(/^HTTP\/1\.1 503 /.test(String(text)))
        socket.destroy()
      }).once("error", () => resolve(true))
      socket.write("GET /store HTTP/1.1\r\nhost: localhost\r\n\r\n")
    }))
  going.resolve()
  const answer = await save
  expect([answer.status, (await answer.json()).length]).toEqual([200, data.length])
  const left = await ended
  expect(left.code).toBe(143)
  expect(logOf(left).map(({ event }) => event)).toEqual(
    expect.arrayContaining(["listening", "stopping", "request", "stopped"]),
  )
  const loaded = await work.run("load", "snapshot")
  expect([loaded.code, loaded.stdout.length, hashOf([loaded.stdout])]).toEqual([0, data.length, hashOf([data])])
}, patience)

const hashOf = (parts: Iterable<Uint8Array>): string => {
  const hash = createHash("sha256")
  for (const part of parts) hash.update(part)
  return hash.digest("hex")
}

const chunk = 4 * MiB

/** The snapshot, never in memory as a whole. */
function* snapshot(from: number, to: number): Generator<Uint8Array> {
  for (let at = from; at < to; at += chunk) yield bytes(at / chunk, chunk)
}

const write = (child: ChildProcessWithoutNullStreams, data: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => child.stdin.write(data, (error) => error ? reject(error) : resolve()))

/** Saves and loads the snapshot through a server that is restarted in the middle of each. */
const moveThroughRestarts = async (work: Workplace, server: Server, most: number): Promise<void> => {
  const saving = work.start("save", "snapshots/big", "--store", server.url)
  const saved = outcome(saving)
  for (const data of snapshot(0, size / 2)) await write(saving, data)
  await server.restart()
  for (const data of snapshot(size / 2, size)) await write(saving, data)
  saving.stdin.end()
  expect(await saved).toMatchObject({ code: 0, err: "" })

  const loading = work.start("load", "snapshots/big", "--store", server.url)
  const hash = createHash("sha256")
  let [received, restarted] = [0, false]
  const done = new Promise<number>((resolve) => loading.once("close", (code) => resolve(code ?? -1)))
  let said = ""
  loading.stderr.on("data", (text: Uint8Array) => said += new TextDecoder().decode(text))
  for await (const data of loading.stdout as AsyncIterable<Uint8Array>) {
    hash.update(data)
    received += data.length
    if (restarted || received < size / 4) continue
    restarted = true
    await server.restart()
  }
  expect([await done, said]).toEqual([0, ""])
  expect([received, hash.digest("hex")]).toEqual([size, hashOf(snapshot(0, size))])

  await server.stop()
  if (!existsSync("/proc/self/status")) return
  expect(server.peak).toBeGreaterThan(MiB)
  expect(server.peak).toBeLessThanOrEqual(most)
}

const count = `${size / MiB} MiB`

test(`${count} go into a served folder and back, with the server restarted in the middle of each`, async () => {
  await using work = await Workplace.make()
  // The load stands still while the server is restarted, so it will not end by itself.
  await using server = await Server.start(work, "--grace", "1s")
  await moveThroughRestarts(work, server, memoryBudget)
  expect((await work.run("uploads", "ls")).out).toBe("")
}, longPatience)

const { servers, missing } = await startServers(["ceph"])
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()))
})
for (const { name, why } of missing) test.skip(`${count} through a served bucket (skipped: ${name}: ${why})`, () => {})
for (const { name, bucket, endpoint, region, credentials } of servers) {
  test(
    `${count} go into a served bucket of ${name} and back, with the server restarted in the middle of each`,
    async () => {
      await using work = await Workplace.make({
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      })
      const store = `s3://${bucket}?endpoint=${endpoint}&region=${region}&profile=${name}`
      // Its clients have neither the keys nor the bucket's name.
      await using server = await Server.start(work, "--store", store, "--grace", "1s")
      // Parts in flight are there twice, received and sent on: 180 to 208 MiB in Bun.
      await moveThroughRestarts(work, server, memoryBudget + 32 * MiB)
      expect((await work.run("uploads", "ls", "--store", store)).out).toBe("")
    },
    longPatience,
  )
}

/** Files that a process may have open: a connection is one, on either side. */
const openFiles = existsSync("/proc/self/limits")
  ? Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? Infinity)
  : Infinity
const crowd: (name: string, run: () => Promise<void>, timeout: number) => void = openFiles >= 2000
  ? test
  : (name, run) => test.skip(`${name} (skipped: a process may have ${openFiles} files open, ulimit -n)`, run)

crowd("200 clients at work and 1,000 idle connections are served", async () => {
  await using work = await Workplace.make()
  await using server = await Server.start(work)
  const port = Number(new URL(server.url).port)
  const request = "GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
  const answers = (text: string): number => text.split("HTTP/1.1 200 ").length - 1
  const idle: Array<Wire> = []
  try {
    // In batches: the kernel queues no more than a few hundred connections that nobody has taken yet.
    for (let i = 0; i < 10; i++) {
      const batch = Array.from({ length: 100 }, () => new Wire(port))
      idle.push(...batch)
      await Promise.all(batch.map((wire) => {
        wire.write(request)
        return wire.until((text) => answers(text) === 1)
      }))
    }
    const clients = Array.from({ length: 200 }, async (_, i): Promise<string> => {
      const url = `${server.url}/o/clients/${i}`
      const saved = await fetch(url, { method: "PUT", body: bytes(i, 10_000) })
      await saved.body?.cancel()
      const loaded = await fetch(url)
      return `${saved.status} ${loaded.status} ${hashOf([await loaded.bytes()]) === hashOf([bytes(i, 10_000)])}`
    })
    expect(new Set(await Promise.all(clients))).toEqual(new Set(["200 200 true"]))
    await Promise.all(idle.map((wire) => {
      wire.write(request)
      return wire.until((text) => answers(text) === 2)
    }))
    expect(idle).toHaveLength(1000)
  } finally {
    for (const wire of idle) wire.socket.destroy()
  }
  expect((await server.stop()).code).toBe(143)
}, patience)

test("holdfast serve --help fits a terminal", async () => {
  await using work = await Workplace.make()
  const { code, out, err } = await work.run("serve", "--help")
  expect([code, err]).toEqual([0, ""])
  expect(out).toContain("holdfast serve --port 8420")
  for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(120)
}, patience)
