/** A server whose file of tokens changes while it runs. */
import { expect, test } from "bun:test"
import { readFile, rm, writeFile } from "node:fs/promises"
import process from "node:process"
import { command, outcome, patience, start, until, Workplace } from "../testing.ts"
import { onHangup } from "./hangup.ts"
import { makeToken } from "./tokens.ts"

type Line = Readonly<Record<string, unknown>>

/** Starts a server whose log goes to a file, so that it can be read while the server runs. */
const serve = async (work: Workplace, ...args: ReadonlyArray<string>) => {
  const line = [...command, "serve", "--port", "0", ...args].join(" ")
  const child = start(["bash", "-c", `exec ${line} 2> log`], { cwd: work.path, env: work.env })
  const ended = outcome(child)
  let over = false
  void ended.then(() => over = true)
  // After one signal Deno's `child.kill` sends no other.
  const send = (name: "SIGHUP" | "SIGTERM" | "SIGKILL"): void => {
    if (!over) process.kill(child.pid!, name)
  }
  const logged = async (): Promise<ReadonlyArray<Line>> => {
    const whole = (await readFile(work.at("log"), "utf8")).split("\n").slice(0, -1)
    return whole.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line))
  }
  let url = ""
  await until("it listens", async () => {
    const listening = (await logged().catch(() => [])).find(({ event }) => event === "listening")
    url = String(listening?.["url"] ?? "")
    return url !== ""
  }).catch((error) => {
    send("SIGKILL")
    throw error
  })
  let told = 0
  return {
    url,
    logged,
    send,
    /** Has it read its tokens again. What it says of that. */
    reload: async (): Promise<Line> => {
      send("SIGHUP")
      const about = async () => (await logged()).filter(({ event }) => /reloaded$/.test(String(event)))
      await until("it has read its tokens again", async () => (await about()).length > told)
      return (await about())[told++]!
    },
    ended,
    [Symbol.asyncDispose]: async (): Promise<void> => {
      send("SIGKILL")
      await ended
    },
  }
}

const unix: (name: string, run: () => Promise<void>, timeout: number) => void = process.platform === "win32"
  ? (name, run) => test.skip(`${name} (skipped: Windows has no SIGHUP)`, run)
  : test

unix("SIGHUP lets in the tokens of the file as it is now; a file that is wrong changes nothing", async () => {
  await using work = await Workplace.make()
  const [a, b, c] = [makeToken("write", ""), makeToken("write", ""), makeToken("read", "public/")]
  const file = (...lines: ReadonlyArray<string>): Promise<void> =>
    writeFile(work.at("tokens.txt"), lines.map((line) => `${line}\n`).join(""))
  await file(a.line, b.line)
  await using server = await serve(work, "--token-file", "tokens.txt")
  const ask = async (path: string, { token }: { readonly token: string }, init?: RequestInit): Promise<number> => {
    const url = path.startsWith("/") ? new URL(path, server.url) : `${server.url}/${path}`
    const response = await fetch(url, { ...init, headers: { authorization: `Bearer ${token}` } })
    await response.body?.cancel()
    return response.status
  }
  const list = (who: { readonly token: string }): Promise<number> => ask("l?prefix=public/", who)
  const everyone = async (): Promise<ReadonlyArray<number>> => [await list(a), await list(b), await list(c)]
  expect(await everyone()).toEqual([200, 200, 403])

  // One is added, and bounded as its line says.
  await file(a.line, b.line, c.line)
  expect(await server.reload()).toMatchObject({ level: "info", event: "reloaded", tokens: 3 })
  expect(await everyone()).toEqual([200, 200, 200])
  expect(await ask("o/public/x", c, { method: "PUT", body: "x" })).toBe(403)

  // One is taken away while what it has begun is on hand.
  const going = Promise.withResolvers<void>()
  const body = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      controller.enqueue(new Uint8Array(1000))
      await going.promise
      controller.close()
    },
  }, { highWaterMark: 0 })
  const save = ask("o/begun", a, { method: "PUT", body, duplex: "half" } as RequestInit)
  const metrics = async (): Promise<string> => {
    const response = await fetch(new URL("/metrics", server.url), { headers: { authorization: `Bearer ${b.token}` } })
    return await response.text()
  }
  await until("the save has begun", async () => /^holdfast_http_requests_in_flight 2$/m.test(await metrics()))
  await file(b.line, c.line)
  expect(await server.reload()).toMatchObject({ event: "reloaded", tokens: 2 })
  expect(await everyone()).toEqual([403, 200, 200])
  expect(await ask("/metrics", a)).toBe(401)
  going.resolve()
  expect(await save).toBe(200)

  const canary = "canary-of-a-token"
  const problems: ReadonlyArray<readonly [change: () => Promise<void>, says: RegExp]> = [
    [() => file(a.line, canary), /line 2 is not like/],
    [() => file(a.line, c.line, `${b.line} ${canary}/../x`), /line 3 is the prefix/],
    [() => file("# nobody"), /there are none/],
    [() => rm(work.at("tokens.txt")), /no such file/],
  ]
  for (const [change, says] of problems) {
    await change()
    const line = await server.reload()
    expect(line).toMatchObject({ level: "error", event: "not reloaded" })
    expect(line["problem"]).toMatch(says)
    expect(await everyone()).toEqual([403, 200, 200])
  }
  await file(a.line)
  expect(await server.reload()).toMatchObject({ event: "reloaded", tokens: 1 })
  expect(await everyone()).toEqual([200, 403, 403])

  // All this was one process, which has forgotten nothing of what it counted, and ends as ever.
  const health = await fetch(new URL("/health", server.url))
  expect([health.status, await health.json()]).toEqual([200, { status: "ok" }])
  server.send("SIGTERM")
  expect((await server.ended).code).toBe(143)
  const log = JSON.stringify(await server.logged())
  for (const secret of [canary, a.token, b.token, c.token, a.line, b.line]) expect(log).not.toContain(secret)
}, patience)

unix("without a file of tokens there is nothing to read again, and SIGHUP ends the server", async () => {
  await using work = await Workplace.make()
  await using server = await serve(work)
  server.send("SIGHUP")
  expect((await server.ended).code).toBe(129)
}, patience)

unix("SIGHUP is listened to by one only, works one after the other, and then by who listened before", async () => {
  const ran: Array<string> = []
  const before = (): unknown => ran.push("before")
  process.on("SIGHUP", before)
  const first = Promise.withResolvers<void>()
  const restore = onHangup(async () => {
    ran.push("begun")
    await first.promise
    ran.push("done")
  })
  try {
    process.kill(process.pid, "SIGHUP")
    await until("the work has begun", () => Promise.resolve(ran.length === 1))
    process.kill(process.pid, "SIGHUP")
    // The second has come when a signal that is sent after it has.
    const after = Promise.withResolvers<void>()
    process.once("SIGUSR2", () => after.resolve())
    process.kill(process.pid, "SIGUSR2")
    await after.promise
    expect(ran).toEqual(["begun"])
    first.resolve()
    await until("both are done", () => Promise.resolve(ran.length === 4))
    expect(ran).toEqual(["begun", "done", "begun", "done"])
  } finally {
    restore()
  }
  process.kill(process.pid, "SIGHUP")
  await until("the one before hears it", () => Promise.resolve(ran.length === 5))
  expect(ran.at(-1)).toBe("before")
  process.off("SIGHUP", before)
}, patience)
