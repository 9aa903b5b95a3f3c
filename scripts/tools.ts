/**
 * What the project's own scripts share: finding the runtimes, installing the dependencies, running a program.
 *
 * Nothing here may import a dependency: on a fresh clone this file runs before there are any.
 *
 * @module
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import process from "node:process"

/** The project's folder. */
export const root: string = fileURLToPath(new URL("..", import.meta.url))

/** The command line of Bun: the running one, the installed one, or the one that npx fetches. */
export const bun = (): readonly [string, ...Array<string>] => {
  if (process.versions["bun"] !== undefined) return [process.execPath]
  const installed = `${root}node_modules/.bin/bun`
  return existsSync(installed) ? [installed] : ["npx", "--yes", "bun"]
}

/**
 * The command line of Deno, once the dependencies are installed. Not `node_modules/.bin/deno`: that is a program
 * which starts the real one, and a signal meant for Deno would only reach the former.
 */
export const deno = (): readonly [string, ...Array<string>] =>
  process.versions["deno"] !== undefined ? [process.execPath] : [`${root}node_modules/deno/deno`]

/** Installs the dependencies as bun.lock names them. Quick when they are there. */
export const install = (): void => {
  if (!existsSync(`${root}node_modules`)) console.error("installing the dependencies …")
  const [program, ...args] = bun()
  const done = spawnSync(program, [...args, "install", "--frozen-lockfile"], { cwd: root, encoding: "utf8" })
  if (done.status !== 0) throw new Error(`bun install failed:\n${done.stdout}${done.stderr}`)
  // The package puts the real Deno in its place at the first start.
  if (!existsSync(`${root}node_modules/deno/deno`)) {
    spawnSync(program, [...args, `${root}node_modules/deno/bin.cjs`, "--version"], { cwd: root, stdio: "ignore" })
  }
}

/** Runs a program in the project's folder, passes on what it prints unless `quiet`, and returns that and its exit code. */
export const run = (
  command: readonly [string, ...Array<string>],
  options: { readonly env?: Record<string, string>; readonly cwd?: string; readonly quiet?: boolean } = {},
): Promise<{ readonly code: number; readonly output: string }> =>
  new Promise((resolve, reject) => {
    const [program, ...args] = command
    const child = spawn(program, args, {
      cwd: options.cwd ?? root,
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    })
    let output = ""
    child.stdout.on("data", (chunk: Uint8Array) => {
      output += new TextDecoder().decode(chunk)
      if (!options.quiet) process.stdout.write(chunk)
    })
    child.stderr.on("data", (chunk: Uint8Array) => {
      output += new TextDecoder().decode(chunk)
      if (!options.quiet) process.stderr.write(chunk)
    })
    child.on("error", reject)
    child.on("close", (code) => resolve({ code: code ?? 1, output }))
  })
