/**
 * A program bundled by Bun as wrangler does it for a Cloudflare Worker: for the tests that run one in workerd, and for
 * those that weigh its bundle.
 *
 * @module
 */

/** Which code of a package wrangler takes. */
export const wranglerConditions: ReadonlyArray<string> = ["workerd", "worker", "browser"]

/** What wrangler knows of where a Worker will run; the branches for elsewhere are left out of its bundle. */
export const wranglerDefines: Readonly<Record<string, string>> = { "navigator.userAgent": '"Cloudflare-Workers"' }

/** The options of miniflare for a bundled script. It would look for modules itself, and knows no import() of a variable. */
export const workerOptions = (script: string): {
  modules: Array<{ type: "ESModule"; path: string; contents: string }>
  compatibilityDate: string
} => ({
  modules: [{ type: "ESModule", path: "worker.mjs", contents: script }],
  compatibilityDate: "2026-07-01",
})

/** Bundles the text of a program whose imports are relative to `entry`, a file that need not be there. One file. */
export const bundleWorker = async (entry: string, program: string): Promise<string> => {
  const { build } = Reflect.get(globalThis, "Bun") as {
    build: (options: object) => Promise<{ outputs: ReadonlyArray<Blob> }>
  }
  const options = { target: "browser", conditions: wranglerConditions, define: wranglerDefines, minify: true }
  const { outputs } = await build({ entrypoints: [entry], files: { [entry]: program }, ...options })
  if (outputs.length !== 1) throw new Error(`the bundle of ${entry} has ${outputs.length} files`)
  return await outputs[0]!.text()
}
