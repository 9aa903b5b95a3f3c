/** The WebDAV backend against the suite, on servers that others wrote. */
import { afterAll, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import { readdir, readFile } from "node:fs/promises"
import { startWebdavServers } from "../../../scripts/servers/webdav.ts"
import { withPolicy } from "../../policy.ts"
import { openBackend } from "../../store.ts"
import { bytes, conformance, expectBytes, register } from "../conformance.ts"
import { make } from "./mod.ts"

const { servers, missing } = await startWebdavServers()
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()))
})
for (const { name, why } of missing) test.skip(`webdav on ${name} (skipped: ${why})`, () => {})

/** What files cannot be. */
const ofFiles: Readonly<Record<string, string>> = {
  "a key comes back as it was given, however odd": "a segment of a key is a file's name: 255 bytes",
  "a key of 1,024 bytes is stored, in one segment and in many": "a segment of a key is a file's name: 255 bytes",
}

/** What is true of these servers. */
const beyond: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  nginx: ofFiles,
  rclone: {
    ...ofFiles,
    "get() sees the old or the new object, never a mix, while it is overwritten":
      "rclone takes away the old file before it moves the new one there",
  },
}

for (const { name, url } of servers) {
  const cases = await conformance(`webdav (${name})`, () => Effect.map(make({ url }), (backend) => withPolicy(backend)))
  register(
    test,
    cases.map((one) => ({
      ...one,
      skipped: one.skipped ?? beyond[name]?.[one.name.slice(one.name.indexOf(": ") + 2)],
    })),
  )
}

/** What makes trouble in URLs, in XML and as names of files. */
const odd = ["a+b%?#&=;:@,$!'()*", " ", "%", "%25", "a%2fb", "a//b", "//", "a/", "...", "trailing.", "<Key>&amp;</Key>"]
odd.push(
  "emoji-👩🏽‍🚀",
  "e\u0301",
  "\u00e9",
  "\u00a0\u2028\ufeff",
  "[x]{y}^`",
  ".holdfast/tmp",
  "nul.txt",
  "index.html",
  "-rf",
)

for (const { name, url, folder } of servers) {
  test(`webdav (${name}): keys come back as they were given, however odd`, async () => {
    await using store = await openBackend(make({ url }))
    const keys = odd.map((key, index) => `odd/${index}/${key}`)
    for (const [index, key] of keys.entries()) await store.save(key, bytes(index, 50))
    for (const [index, key] of keys.entries()) {
      expectBytes(await (await store.load(key)).bytes(), bytes(index, 50), key)
      const found = []
      for await (const object of store.list({ prefix: key })) found.push(object.key)
      expect(found).toEqual([key])
    }
    await store.removeMany(keys)
  })

  test(`webdav (${name}): other programs find objects as files, and theirs are objects`, async () => {
    await using store = await openBackend(make({ url }), { compression: "none" })
    await store.save("shared/ours.json", '{"a":1}', { contentType: "application/json", metadata: { n: "1" } })
    expect(await readFile(`${folder}/shared/ours.json`, "utf8")).toBe('{"a":1}')
    expect(await (await fetch(`${url}/shared/ours.json`)).text()).toBe('{"a":1}')
    // Through the server, since rclone looks at a folder itself only now and then.
    await fetch(`${url}/shared/uploaded.txt`, { method: "PUT", body: "hi" }).then((reply) => reply.body?.cancel())
    const info = await store.stat("shared/ours.json")
    expect([info.contentType, info.metadata]).toEqual(["application/json", { n: "1" }])
    const theirs = await store.load("shared/uploaded.txt")
    expect([await theirs.text(), theirs.info.etag.startsWith("W/")]).toEqual(["hi", true])
    expect(await readdir(`${folder}/.holdfast/tmp`)).toEqual([])
  })

  test(`webdav (${name}): a compressed snapshot of 24 MiB goes there and back`, async () => {
    await using store = await openBackend(make({ url }))
    const data = bytes(5, 24 * 2 ** 20)
    const info = await store.save("snapshots/a", new Blob([data]).stream(), { metadata: { step: "7" } })
    const loaded = await store.load("snapshots/a")
    expect([loaded.info.codec, loaded.info.length, loaded.info.metadata]).toEqual([info.codec, data.length, {
      step: "7",
    }])
    expectBytes(await loaded.bytes(), data, "the snapshot")
    expectBytes(
      await (await store.load("snapshots/a", { offset: 10_000_000, length: 5000 })).bytes(),
      data.subarray(10_000_000, 10_005_000),
      "a range",
    )
  })
}
