import { test } from "bun:test"

/** `test` for what one runtime alone can do; on the others the test is listed as skipped, with the reason. */
export const onlyOn = (
  runtime: "bun" | "deno",
  why: string,
): (name: string, run: () => Promise<void> | void, timeout?: number) => void =>
  (runtime === "deno") === ("Deno" in globalThis)
    ? test
    : (name, run) => test.skip(`${name} (skipped: ${runtime} only: ${why})`, run)
