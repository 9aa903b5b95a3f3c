/**
 * What the crash tests run in processes of their own, to be killed, cut off or failed:
 *
 * - `writer.ts versions URL SEED`: replaces one object for ever; prints `begin N` and `saved N` for version N.
 * - `writer.ts count URL TIMES`: increments a number by compare-and-swap that often.
 * - `writer.ts once URL VERSION`: replaces the object once; prints the reason if that fails.
 *
 * @module
 */
import process from "node:process"
import { open, type Store, StoreError } from "../../mod.ts"
import { key, versionBytes } from "./versions.ts"

const [mode, url, argument] = process.argv.slice(2) as [string, string, string]
const say = (line: string): void => void process.stdout.write(`${line}\n`)

const saveVersion = (store: Store, version: number): Promise<unknown> =>
  // A small part size, so that large versions are uploads of several parts.
  store.save(key, new Blob([versionBytes(version)]).stream(), {
    partSize: 64 * 1024,
    metadata: { version: `${version}` },
  })

const reasonOf = (error: unknown): string => {
  if (StoreError.is(error)) return error.reason
  throw error
}

const increment = async (store: Store): Promise<void> => {
  while (true) {
    try {
      const loaded = await store.load("counter")
      const value = Number(await loaded.text())
      await store.save("counter", `${value + 1}`, { ifMatch: loaded.info.etag })
      return
    } catch (error) {
      if (reasonOf(error) !== "PreconditionFailed") throw error
    }
  }
}

await using store = await open(url, { compression: "none" })
if (mode === "versions") {
  for (let version = Number(argument);; version++) {
    say(`begin ${version}`)
    await saveVersion(store, version)
    say(`saved ${version}`)
  }
} else if (mode === "count") {
  for (let i = 0; i < Number(argument); i++) await increment(store)
} else {
  say(await saveVersion(store, Number(argument)).then(() => "saved", reasonOf))
}
