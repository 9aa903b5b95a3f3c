/**
 * Builds what npm gets: JavaScript and declarations for every entry, and the command as one file.
 *
 * The command is bundled because it uses modules of Effect that may change in a minor release.
 *
 * @module
 */
import { chmod, readFile, rm, writeFile } from "node:fs/promises"
import { bun, root, run } from "./tools.ts"

const step = async (command: readonly [string, ...Array<string>]): Promise<void> => {
  const { code } = await run(command)
  if (code !== 0) throw new Error(`${command.join(" ")} failed with exit code ${code}`)
}

await rm(`${root}dist`, { recursive: true, force: true })
await step([...bun(), "x", "tsc", "-p", "tsconfig.build.json"])
await step([...bun(), "build", "src/cli/main.ts", "--target=node", "--minify-syntax", "--outfile=dist/holdfast.js"])
const bundle = `${root}dist/holdfast.js`
const text = await readFile(bundle, "utf8")
await writeFile(bundle, text.startsWith("#!") ? text : `#!/usr/bin/env node\n${text}`)
await chmod(bundle, 0o755)
