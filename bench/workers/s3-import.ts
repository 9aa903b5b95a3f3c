/**
 * How long the S3 entry takes to import: `s3-import.ts FOLDER entry|floor`. The floor is what it imports from other
 * packages, and nothing of Holdfast. Prints one JSON line.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import { dirname, resolve } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"

const checkout = process.env["HOLDFAST_CHECKOUT"] ?? fileURLToPath(new URL("../../", import.meta.url))
const entry = resolve(checkout, "src/backends/s3/mod.ts")

/** The modules of other packages that a file imports, and those that it imports import. */
const packagesOf = (file: string): ReadonlyArray<string> => {
  const transpiler = new Bun.Transpiler({ loader: "ts", trimUnusedImports: true })
  const seen = new Set<string>()
  const found = new Set<string>()
  const visit = (path: string): void => {
    if (seen.has(path)) return
    seen.add(path)
    for (const { path: name, kind } of transpiler.scanImports(readFileSync(path, "utf8"))) {
      if (kind !== "import-statement") continue
      if (name.startsWith(".")) visit(resolve(dirname(path), name))
      else found.add(name)
    }
  }
  visit(file)
  return [...found]
}

const modules = process.argv[3] === "entry" ? [entry] : packagesOf(entry)
const before = process.cpuUsage()
const start = performance.now()
for (const name of modules) await import(name)
const ms = performance.now() - start
const { user, system } = process.cpuUsage(before)
const high = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))
console.log(JSON.stringify({ ms, work: modules.length, peak: Number(high![1]) * 1024, cpu: (user + system) / 1e6 }))
