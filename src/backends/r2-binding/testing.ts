/**
 * Workers for the tests: bundled by Bun as for Cloudflare, and run in workerd by miniflare, each with an empty bucket
 * `BUCKET`. miniflare is a program of its own, this very file, so that its timers are not taken for a test's; it ends
 * with its input.
 *
 * @module
 */
import { execFile, spawn } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import process from "node:process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { wranglerConditions, wranglerDefines } from "../../../scripts/worker.ts"

const root = fileURLToPath(new URL("../../..", import.meta.url))
const bun = `${root}node_modules/.bin/bun`

/** Bundles a file of this project, minified, as wrangler would. */
export const bundle = async (entry: string): Promise<string> => {
  const folder = await mkdtemp(`${tmpdir()}/holdfast-worker-`)
  try {
    const out = `${folder}/worker.js`
    const args = ["build", root + entry, "--target=browser", "--minify", `--outfile=${out}`]
    for (const condition of wranglerConditions) args.push(`--conditions=${condition}`)
    for (const [name, value] of Object.entries(wranglerDefines)) args.push(`--define=${name}=${value}`)
    // Modules of node: are left for the Worker to miss, as wrangler leaves them.
    args.push("--external=node:*")
    await new Promise<void>((resolve, reject) => {
      execFile(bun, args, { cwd: root }, (error, stdout, stderr) => {
        if (error === null) resolve()
        else reject(new Error(`${entry} cannot be bundled\n${stdout}${stderr}`))
      })
    })
    return await readFile(out, "utf8")
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** A Worker that runs. */
export interface RunningWorker {
  /** Where it answers. */
  readonly origin: string
  /** Ends it; its bucket is gone then. */
  readonly stop: () => Promise<void>
}

/** Runs a script in workerd. */
export const startWorker = async (script: string): Promise<RunningWorker> => {
  const child = spawn(bun, [fileURLToPath(import.meta.url)], { stdio: "pipe" })
  // workerd reports there every connection that its client has left.
  let said = ""
  child.stderr.on("data", (chunk: Uint8Array) => said += new TextDecoder().decode(chunk))
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
  const lines = createInterface({ input: child.stdout })
  const origin = new Promise<string>((resolve, reject) => {
    lines.once("line", resolve)
    void ended.then(() => reject(new Error(`miniflare ended before the Worker ran\n${said}`)))
  })
  child.stdin.write(`${JSON.stringify(script)}\n`)
  return {
    origin: await origin,
    stop: () => {
      child.stdin.end()
      return ended
    },
  }
}

if (import.meta.main) {
  const { Miniflare } = await import("miniflare")
  for await (const line of createInterface({ input: process.stdin })) {
    const flare = new Miniflare({
      // Listed, since miniflare would look for modules itself and knows no import() of a name in a variable.
      modules: [{ type: "ESModule", path: "worker.mjs", contents: JSON.parse(line) as string }],
      compatibilityDate: "2026-07-01",
      r2Buckets: ["BUCKET"],
    })
    process.stdin.once("end", () => void flare.dispose())
    console.log(String(await flare.ready))
  }
}
