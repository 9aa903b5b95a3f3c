/**
 * README's table of backends comes from the backends themselves: `bun scripts/backends.ts` writes it, and a test holds
 * README against it.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { readFile, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import process from "node:process"
import { fileURLToPath } from "node:url"
import type { Backend } from "../src/backend.ts"
import * as Disk from "../src/backends/disk/mod.ts"
import * as Remote from "../src/backends/http/mod.ts"
import * as Memory from "../src/backends/memory.ts"
import { storeRoutes } from "../src/http/mod.ts"
import { openBackend } from "../src/store.ts"
import * as R2Binding from "../src/backends/r2-binding/mod.ts"
import * as S3 from "../src/backends/s3/mod.ts"
import * as Webdav from "../src/backends/webdav/mod.ts"
import { root } from "./tools.ts"

/** A binding that is never asked anything: what a backend can do, it says without. */
const unasked = (): never => {
  throw new Error("nothing is asked of a bucket here")
}
const noBucket: R2Binding.R2Bucket = {
  head: unasked,
  get: unasked,
  put: unasked,
  delete: unasked,
  list: unasked,
  createMultipartUpload: unasked,
  resumeMultipartUpload: unasked,
}

const s3 = (profile: S3.ProfileName): Effect.Effect<Backend, unknown> =>
  S3.make({ bucket: "bucket", profile, region: "us-east-1", credentials: "anonymous", endpoint: "https://example.com" })

/** What a store behind routes can do is what the store can; here it is one in memory. */
const remote: Effect.Effect<Backend, unknown> = Effect.gen(function* () {
  const served = yield* Effect.promise(() => openBackend(Memory.make()))
  const routes = storeRoutes(served, { authorize: () => true })
  return yield* Remote.make({
    url: "http://localhost",
    fetch: async (url, init) => await routes.fetch(new Request(url, init)),
  })
})

/** Each backend, and where its promises are tested in CI. */
const rows: ReadonlyArray<readonly [name: string, backend: Effect.Effect<Backend, unknown>, proven: string]> = [
  ["`mem:`", Memory.make(), "itself"],
  [
    "`file:`",
    Effect.scoped(Disk.make({ root: `${tmpdir()}/holdfast-never-made` })),
    "itself, with kills and power cuts",
  ],
  ["`s3:` Amazon S3", s3("aws"), "a scripted peer; run it on your bucket with `RUN_S3_TESTS=1`"],
  ["`s3:` Ceph", s3("ceph"), "RADOS Gateway 16.2 from Debian"],
  ["`s3:` Versity Gateway", s3("versitygw"), "version 1.8, where there is Go"],
  ["`r2:` Cloudflare R2", s3("r2"), "miniflare's S3 endpoint, a scripted peer"],
  ["R2 binding", R2Binding.make(noBucket), "miniflare's binding, in workerd"],
  ["`https:` another Holdfast", remote, "its routes over memory and disk"],
  [
    "`webdav+https:`",
    Webdav.make({ url: "http://localhost" }),
    "nginx 1.22 and rclone 1.60 from Debian, a scripted peer; up to 64 MiB",
  ],
  ["`s3:` MinIO", s3("minio"), "its documentation only"],
  ["`s3:` Google Cloud Storage", s3("gcs-interop"), "its documentation only"],
  ["`s3:` Backblaze B2", s3("b2"), "its documentation only"],
  ["`s3:` any other", s3("generic"), "a scripted peer"],
]

const mark = (yes: boolean): string => yes ? "yes" : "–"

/** The table as README shows it. */
export const table = async (): Promise<string> => {
  const lines: Array<string> = []
  for (const [name, make, proven] of rows) {
    const backend = await Effect.runPromise(make)
    const { conditional, parts, encryption = [], enforcedChecksum, copy } = backend.capabilities
    const { create, replace, complete } = conditional
    const cells = [
      name,
      mark(create && replace),
      mark(complete),
      mark(enforcedChecksum),
      mark(copy),
      mark(backend.listVersions !== undefined),
      mark(backend.presign !== undefined),
      encryption.length === 0 ? "–" : encryption.join(", "),
      parts?.equalSize === true ? "equal parts" : "",
      proven,
    ]
    lines.push(`| ${cells.join(" | ")} |`)
  }
  return [
    "| store | conditions | also for uploads | checksum enforced | copies itself | versions | presign | encryption | | proven on |",
    "|---|---|---|---|---|---|---|---|---|---|",
    ...lines,
  ].join("\n")
}

/** README with the table in it. */
export const withBackends = async (readme: string): Promise<string> => {
  const made = await table()
  return readme.replace(
    /<!-- backends -->[\s\S]*?<!-- \/backends -->/,
    () => `<!-- backends -->\n${made}\n<!-- /backends -->`,
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = `${root}README.md`
  await writeFile(path, await withBackends(await readFile(path, "utf8")))
}
