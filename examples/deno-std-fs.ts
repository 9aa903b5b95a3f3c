/**
 * For programs that use `@std/fs` already: walks a folder with it and saves every file. Deno only, and it needs a
 * machine that can reach JSR; `src/` itself uses `node:fs/promises`, which every runtime has.
 *
 * Run it: deno run -A examples/deno-std-fs.ts FOLDER
 */
import { open } from "@holdfast/holdfast"

/** What is used of `@std/fs`. */
interface Walk {
  walk(root: string, options: { includeDirs: boolean }): AsyncIterable<{ readonly path: string }>
}

interface DenoFiles {
  readonly args: ReadonlyArray<string>
  open(path: string): Promise<{ readonly readable: ReadableStream<Uint8Array> }>
}

const deno = (globalThis as { Deno?: DenoFiles }).Deno
if (deno === undefined) {
  throw new Error("this example needs Deno; run it with: deno run -A examples/deno-std-fs.ts FOLDER")
}
const { walk } = await import("@std/fs" as string) as Walk
const folder = deno.args[0] ?? "examples"

await using store = await open("mem:")
for await (const { path } of walk(folder, { includeDirs: false })) {
  const { size } = await store.save(path, (await deno.open(path)).readable)
  console.log(`${size} bytes in ${path}`)
}
