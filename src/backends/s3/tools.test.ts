/**
 * Other people's tools and Holdfast on one bucket of Ceph's gateway: what one of them stored, the other reads. Objects
 * that Holdfast saves with `compression: "none"` are nothing but their bytes.
 */
import { afterAll, expect, test } from "bun:test"
import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { onlyOn } from "../../../scripts/only-on.ts"
import { programPath, startServers } from "../../../scripts/servers/mod.ts"
import type { Server } from "../../../scripts/servers/server.ts"
import { openBackend, type Store } from "../../store.ts"
import { bytes, expectBytes } from "../conformance.ts"
import * as S3 from "./mod.ts"

const MiB = 2 ** 20
const onDeno = "Deno" in globalThis
const { servers: [ceph], missing } = onDeno ? { servers: [], missing: [] } : await startServers(["ceph"])
const folder = mkdtempSync(`${tmpdir()}/holdfast-tools-`)

afterAll(async () => {
  rmSync(folder, { recursive: true })
  await ceph?.stop()
})

/** The arguments for moving an object to or from a file. */
type Move = (
  server: Server,
  store: Store,
  key: string,
  file: string,
) => ReadonlyArray<string> | Promise<ReadonlyArray<string>>

/** A program that moves objects to and from files. */
interface Tool {
  readonly program: string
  readonly download: Move
  readonly upload: Move
}

const aws = (
  { endpoint }: Server,
): ReadonlyArray<string> => ["--endpoint-url", endpoint, "s3", "cp", "--only-show-errors"]

const rclone = ({ endpoint, credentials }: Server): ReadonlyArray<string> => [
  ...["copyto", "--config", "/dev/null", "--s3-provider", "Ceph", "--s3-endpoint", endpoint],
  ...["--s3-access-key-id", credentials.accessKeyId, "--s3-secret-access-key", credentials.secretAccessKey],
  ...["--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", "--s3-no-check-bucket"],
]

const s3cmd = ({ endpoint, credentials }: Server): ReadonlyArray<string> => {
  const { host } = new URL(endpoint)
  const lines = [
    "[default]",
    `access_key = ${credentials.accessKeyId}`,
    `secret_key = ${credentials.secretAccessKey}`,
    `host_base = ${host}`,
    `host_bucket = ${host}`,
    "use_https = False",
    "multipart_chunk_size_mb = 5",
  ]
  writeFileSync(`${folder}/s3cmd.conf`, lines.join("\n"))
  return ["--config", `${folder}/s3cmd.conf`, "--no-progress", "--quiet"]
}

const tools: Readonly<Record<string, Tool>> = {
  awscli: {
    program: "aws",
    download: (server, _, key, file) => [...aws(server), `s3://${server.bucket}/${key}`, file],
    upload: (server, _, key, file) => [...aws(server), file, `s3://${server.bucket}/${key}`],
  },
  rclone: {
    program: "rclone",
    download: (server, _, key, file) => [...rclone(server), `:s3:${server.bucket}/${key}`, file],
    upload: (server, _, key, file) => [...rclone(server), file, `:s3:${server.bucket}/${key}`],
  },
  s3cmd: {
    program: "s3cmd",
    download: (server, _, key, file) => [...s3cmd(server), "get", `s3://${server.bucket}/${key}`, file],
    upload: (server, _, key, file) => [...s3cmd(server), "put", file, `s3://${server.bucket}/${key}`],
  },
  "curl with a presigned URL": {
    program: "curl",
    download: async (_, store, key, file) => {
      const { url } = await store.presign("GET", key)
      return ["--globoff", "--silent", "--show-error", "--fail", "--output", file, url]
    },
    upload: async (_, store, key, file) => {
      const { url } = await store.presign("PUT", key)
      return ["--globoff", "--silent", "--show-error", "--fail", "--upload-file", file, url]
    },
  },
}

/** Runs a tool with nothing of this user's own settings. */
const run = (program: string, args: ReadonlyArray<string>, { credentials, region }: Server): Promise<void> =>
  new Promise((resolve, reject) => {
    const env = {
      PATH: "/usr/bin:/bin",
      HOME: folder,
      LC_ALL: "C.UTF-8",
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_REGION: region,
      AWS_EC2_METADATA_DISABLED: "true",
    }
    execFile(program, args, { env, timeout: 60_000 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${program}: ${error.message}\n${stdout}${stderr}`))
      else resolve()
    })
  })

/** One request, and parts. */
const objects: Readonly<Record<string, Uint8Array>> = {
  "small ü+1.bin": bytes(1, 5000),
  "large ü+1.bin": bytes(2, 12 * MiB + 7),
}

for (const [name, { program, download, upload }] of Object.entries(tools)) {
  const path = programPath(program)
  const why = missing[0]?.why ?? (path === undefined ? `there is no ${program}` : undefined)
  const add: ReturnType<typeof onlyOn> = why === undefined
    ? onlyOn("bun", "the tools are the same")
    : (title, body) => test.skip(`${title} (skipped: ${why})`, body)

  add(`${name} reads what Holdfast saved, and Holdfast what it wrote`, async () => {
    const server = ceph!
    const { endpoint, region, bucket, credentials, profile } = server
    const backend = S3.make({ endpoint, region, bucket, credentials, profile })
    await using store = await openBackend(backend, { compression: "none" })
    for (const [object, data] of Object.entries(objects)) {
      const file = `${folder}/${program}-${object}`
      await store.save(`ours/${object}`, data, { partSize: 5 * MiB })
      await run(path!, await download(server, store, `ours/${object}`, file), server)
      expectBytes(readFileSync(file), data, `what ${name} read of ${object}`)

      await run(path!, await upload(server, store, `${program}/${object}`, file), server)
      const loaded = await store.load(`${program}/${object}`)
      expect([loaded.info.size, loaded.info.writeId, loaded.info.codec]).toEqual([data.length, undefined, undefined])
      expectBytes(await loaded.bytes(), data, `${object} as ${name} wrote it`)
      const range = await store.load(`${program}/${object}`, { offset: 4990, length: 100 })
      expectBytes(await range.bytes(), data.subarray(4990, 5090), `a range of ${object}`)
    }
    const listed: Array<string> = []
    for await (const { key } of store.list({ prefix: `${program}/` })) listed.push(key)
    expect(listed).toEqual(Object.keys(objects).map((object) => `${program}/${object}`).sort())
  }, 120_000)
}
