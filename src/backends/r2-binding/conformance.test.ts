/** The backend against the suite, inside workerd; and what a Worker has no codec for of its own. */
import { afterAll, expect, test } from "bun:test"
import { openBackend } from "../../store.ts"
import { bytes, type Case, expectBytes, register } from "../conformance.ts"
import * as Memory from "../memory.ts"
import { bundle, startWorker } from "./testing.ts"

const worker = await startWorker(await bundle("src/backends/r2-binding/testing-worker.ts"))
afterAll(worker.stop)

const ask = async (path: string, init?: RequestInit): Promise<Response> => {
  const reply = await fetch(new URL(path, worker.origin), init)
  if (!reply.ok) throw new Error(await reply.text())
  return reply
}

const cases = await (await ask("")).json() as ReadonlyArray<Pick<Case, "name" | "skipped">>
const run = (index: number) => async (): Promise<void> => void await (await ask(`${index}`)).text()
register(test, cases.map(({ name, skipped }, index) => ({ name, skipped, run: run(index) })))

for (const compression of ["gzip", "zstd"] as const) {
  test(`a Worker decodes ${compression} that this runtime has encoded, and finds a flipped bit`, async () => {
    await using store = await openBackend(Memory.make())
    const data = bytes(1, 3_000_000)
    data.fill(7, 500_000, 2_500_000)
    await store.save("a", data, { compression, frameSize: 2 ** 20 })
    const stored = await (await store.load("a", { decode: "none" })).bytes()
    const reply = await ask(compression, { method: "PUT", body: stored })
    expectBytes(new Uint8Array(await reply.arrayBuffer()), data, "what the Worker has decoded")
    stored[stored.length >> 2]! ^= 1
    const error: unknown = await ask(compression, { method: "PUT", body: stored }).catch((cause) => cause)
    expect(String(error)).toMatch(/^Error: Cannot load "(?:gzip|zstd)": .*CRC-32/)
  })
}

test("faults 37, 93: a Worker saves a stream of unknown length in equal parts, with its metadata", async () => {
  const data = bytes(2, 17 * 2 ** 20 + 1)
  const reply = await ask("none", { method: "PUT", body: data })
  expect(JSON.parse(decodeURIComponent(reply.headers.get("facts") ?? ""))).toEqual({
    contentType: "application/x-tar",
    run: "世界",
    same: true,
  })
  expectBytes(new Uint8Array(await reply.arrayBuffer()), data, "what comes back")
})

test("fault 93: a stream that is shorter than announced is an error", async () => {
  const error: unknown = await ask("short", { method: "PUT", body: "a few bytes" }).catch((cause) => cause)
  expect(String(error)).toContain('Cannot save "short": the source ended after 11 of 1000000 bytes')
})
