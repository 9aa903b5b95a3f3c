/** Whatever happens to the program that started servers, nothing of them stays behind. */
import { expect, test } from "bun:test"
import { spawn } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import process from "node:process"
import { bun } from "../tools.ts"
import { openWorkspace } from "./workspace.ts"

const alive = (pid: number): boolean => {
  try {
    // A zombie has ended; whoever started it has not asked yet.
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

const until = async (what: string, holds: () => boolean): Promise<void> => {
  const deadline = Date.now() + 20_000
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const pidsIn = (folder: string, name: string): Array<number> =>
  existsSync(`${folder}/${name}`) ? readFileSync(`${folder}/${name}`, "utf8").trim().split("\n").map(Number) : []

/** A program with a child of its own; both write down their ids. */
const family = ["sh", "-c", "sleep 600 & echo $! >child; echo $$ >parent; wait"] as const

const bothIn = async (folder: string): Promise<ReadonlyArray<number>> => {
  const pids = () => [...pidsIn(folder, "parent"), ...pidsIn(folder, "child")].filter((pid) => pid > 0)
  await until("both have started", () => pids().length === 2)
  expect(pids().map(alive)).toEqual([true, true])
  return pids()
}

const onLinux = process.platform === "linux"
  ? test
  : (name: string, run: () => Promise<void>) => test.skip(`${name} (skipped: reads /proc)`, run)

onLinux("close() ends what was started, and its children, and removes the folder", async () => {
  const workspace = openWorkspace("test")
  workspace.start(family)
  const pids = await bothIn(workspace.folder)
  await workspace.close()
  expect(pids.map(alive)).toEqual([false, false])
  expect(existsSync(workspace.folder)).toBe(false)
  await workspace.close()
})

onLinux("kill() ends a program and its children, and start() can start it again", async () => {
  const workspace = openWorkspace("test")
  try {
    const daemon = workspace.start(family)
    const pids = await bothIn(workspace.folder)
    expect(daemon.ended()).toBeUndefined()
    await daemon.kill()
    await until("both have ended", () => !pids.some(alive))
    expect(daemon.ended()).toContain("SIGKILL")
    await daemon.kill()
    const again = workspace.start(["sleep", "600"])
    expect(again.ended()).toBeUndefined()
  } finally {
    await workspace.close()
  }
})

onLinux("kill -9 of the program that started them ends them too", async () => {
  const module = fileURLToPath(new URL("workspace.ts", import.meta.url))
  const program = `
    import { openWorkspace } from ${JSON.stringify(module)}
    const workspace = openWorkspace("test")
    workspace.start(${JSON.stringify(family)})
    console.log(workspace.folder)
    setInterval(() => {}, 1000)
  `
  const [command, ...args] = [...bun(), "-e", program] as const
  const starter = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] })
  const ended = new Promise((resolve) => starter.once("close", resolve))
  const folder = await new Promise<string>((resolve) =>
    starter.stdout.once("data", (line: Uint8Array) => resolve(new TextDecoder().decode(line).trim()))
  )
  const pids = await bothIn(folder)
  starter.kill("SIGKILL")
  await ended
  await until("all is gone", () => !pids.some(alive) && !existsSync(folder))
})

test("run() says how a program failed, and what it said last", async () => {
  const workspace = openWorkspace("test")
  try {
    await workspace.run(["sh", "-c", "exit 0"])
    const failure = await workspace.run(["sh", "-c", "echo the reason >&2; exit 3"]).catch((error: Error) =>
      error.message
    )
    expect(failure).toBe("sh ended with exit code 3: the reason")
  } finally {
    await workspace.close()
  }
})
