/**
 * A server's folder and processes, gone together: when it is closed, and also when the program that started them
 * ends in any other way, `kill -9` and Ctrl-C included.
 *
 * A small shell does the clearing up in both cases. It holds the read end of a pipe whose write end only we have, so
 * it wakes when we close it and when we die, ends the processes that the folder's `pids` names, and removes the
 * folder. There is no second way that would be used only when things go wrong.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, mkdtempSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { basename } from "node:path"
import process from "node:process"

/** A process that keeps running. */
export interface Daemon {
  /** Ends it as `kill -9` does, with all that it started. Resolves when it is gone. */
  readonly kill: () => Promise<void>
  /** Why it is not running any more; `undefined` while it is. */
  readonly ended: () => string | undefined
}

/** A folder, and the processes that use it. */
export interface Workspace {
  /** Its path; short enough for a Unix socket within. */
  readonly folder: string
  /** Runs a program to its end, of at most a minute. Rejects with the end of what it printed unless it succeeds. */
  readonly run: (command: Command) => Promise<void>
  /** Starts a program that keeps running, in a session of its own. What it prints is kept in the folder. */
  readonly start: (command: Command, env?: Readonly<Record<string, string>>) => Daemon
  /** Ends all processes and removes the folder. Does nothing the second time. */
  readonly close: () => Promise<void>
}

/** A program and its arguments. */
export type Command = readonly [string, ...ReadonlyArray<string>]

/** Longest time for a program to end, and for a server to answer, in milliseconds. */
const limit = 60_000

const clearUp = `
trap "" INT HUP TERM
cat >/dev/null
for pid in $(cat "$0/pids"); do kill -KILL "-$pid"; done
for pid in $(cat "$0/pids"); do
  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    kill -0 "-$pid" && sleep 0.05 || break
  done
done
rm -rf "$0" || { sleep 1; rm -rf "$0"; }
`

const endOf = (child: ChildProcess): Promise<string> =>
  new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message))
    child.once("close", (code, signal) => resolve(signal === null ? `exit code ${code}` : `signal ${signal}`))
  })

/** Ends a process and its children, unless they have ended by themselves. */
const killGroup = (pid: number | undefined): void => {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL")
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ESRCH") throw error
  }
}

/** Makes a fresh folder. */
export const openWorkspace = (name: string): Workspace => {
  const folder = mkdtempSync(`${tmpdir()}/holdfast-${name}-`)
  const running = new Set<number>()
  const record = (): void => {
    // In one step: it may be read at any moment.
    writeFileSync(`${folder}/pids.new`, [...running].join("\n"))
    renameSync(`${folder}/pids.new`, `${folder}/pids`)
  }
  record()
  const janitor = spawn("sh", ["-c", clearUp, folder], { stdio: ["pipe", "ignore", "ignore"], detached: true })
  const janitorEnded = endOf(janitor)
  let open = true

  const launch = ([program, ...args]: Command, env: Readonly<Record<string, string>>, log: string) => {
    const output = openSync(log, "a")
    const child = spawn(program, args, {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ["ignore", output, output],
      detached: true,
    })
    closeSync(output)
    const { pid } = child
    if (pid !== undefined) {
      running.add(pid)
      record()
    }
    const gone = endOf(child).then((how) => {
      if (pid !== undefined) running.delete(pid)
      if (open) record()
      return how
    })
    return { pid, gone }
  }
  const lastLines = (log: string): string => readFileSync(log, "utf8").trim().split("\n").slice(-3).join(" | ")

  return {
    folder,
    run: async (command) => {
      const program = basename(command[0])
      const log = `${folder}/${program}.${crypto.randomUUID()}.log`
      const { pid, gone } = launch(command, {}, log)
      const late = setTimeout(() => killGroup(pid), limit)
      const how = await gone
      clearTimeout(late)
      if (how !== "exit code 0") throw new Error(`${program} ended with ${how}: ${lastLines(log)}`)
    },
    start: (command, env = {}) => {
      const log = `${folder}/${basename(command[0])}.log`
      const { pid, gone } = launch(command, env, log)
      let ended: string | undefined
      void gone.then((how) => void (ended = `${basename(command[0])} ended with ${how}: ${open ? lastLines(log) : ""}`))
      return {
        ended: () => ended,
        kill: async () => {
          if (ended === undefined) killGroup(pid)
          await gone
        },
      }
    },
    close: async () => {
      open = false
      janitor.stdin!.end()
      await janitorEnded
    },
  }
}

/** A TCP port on 127.0.0.1 that was free a moment ago. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => typeof address === "object" && address !== null ? resolve(address.port) : reject(address))
    })
  })

/** Waits until something answers HTTP requests there. Rejects when `daemon` has ended, or after 60 s. */
export const answers = async (url: string, daemon: Daemon): Promise<void> => {
  const deadline = Date.now() + limit
  while (Date.now() < deadline) {
    const reply = await fetch(url, { signal: AbortSignal.timeout(5000) }).catch(() => undefined)
    if (reply !== undefined) return void await reply.body?.cancel()
    const ended = daemon.ended()
    if (ended !== undefined) throw new Error(ended)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`no answer within ${limit / 1000} s`)
}
