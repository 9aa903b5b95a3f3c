/** Perstack's storages: its contract on all three, and what is particular to each. */
import { expect, test } from "bun:test"
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { onlyOn } from "../../scripts/only-on.ts"
import { StoreError } from "../error.ts"
import { aCheckpoint, aJob, anEvent, aSetting } from "../stores/execution-testing.ts"
import { makeS3Peer, peerCredentials, type PeerFetch } from "../testing/s3/mod.ts"
import {
  type Checkpoint,
  createStorage,
  FileSystemStorage,
  type FileSystemStorageConfig,
  type PerstackStorage,
  r2CredentialSteps,
  R2Storage,
  type RunSetting,
  S3Storage,
  type Storage,
} from "./perstack.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const accountId = "0123456789abcdef0123456789abcdef"

/** A folder that is removed at the end of the block. */
const temporary = async (): Promise<{ readonly path: string } & AsyncDisposable> => {
  const path = await mkdtemp(join(tmpdir(), "holdfast-perstack-"))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** A place of one kind: storages on it, the keys there, and the bytes under one. */
interface Place extends AsyncDisposable {
  readonly storage: () => PerstackStorage
  readonly read: (key: string) => Promise<string>
  readonly write: (key: string, text: string) => Promise<void>
}

const places: Readonly<Record<string, () => Promise<Place>>> = {
  FileSystemStorage: async () => {
    const { path, [Symbol.asyncDispose]: dispose } = await temporary()
    return {
      storage: () => new FileSystemStorage({ basePath: path }),
      read: (key) => readFile(join(path, key), "utf8"),
      write: async (key, text) => {
        await mkdir(dirname(join(path, key)), { recursive: true })
        await writeFile(join(path, key), text)
      },
      [Symbol.asyncDispose]: dispose,
    }
  },
  S3Storage: async () => {
    const peer = makeS3Peer({ seed: 1, anonymous: true })
    const server = await peer.listen()
    return {
      storage: () =>
        new S3Storage({
          bucket: "test",
          region: "us-east-1",
          credentials: peerCredentials,
          endpoint: server.url,
          forcePathStyle: true,
          profile: "aws",
        }),
      read: (key) => Promise.resolve(new TextDecoder().decode(peer.object("test", key)?.bytes)),
      write: async (key, body) => {
        expect((await peer.fetch(`${server.url}/test/${key}`, { method: "PUT", body })).status).toBe(200)
      },
      [Symbol.asyncDispose]: () => server.close(),
    }
  },
  R2Storage: () => {
    const peer = makeS3Peer({ seed: 1, anonymous: true, region: "auto", quirks: "r2" })
    const origin = `https://${accountId}.r2.cloudflarestorage.com`
    return Promise.resolve({
      storage: () => new R2Storage({ accountId, bucket: "test", ...peerCredentials, fetch: peer.fetch }),
      read: (key) => Promise.resolve(new TextDecoder().decode(peer.object("test", key)?.bytes)),
      write: async (key, body) => {
        expect((await peer.fetch(`${origin}/test/${key}`, { method: "PUT", body })).status).toBe(200)
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    })
  },
}

/** What a promise rejects with. */
const failure = async (promise: Promise<unknown>): Promise<Error> => {
  const error = await promise.then(() => undefined, (error) => error)
  if (!(error instanceof Error)) throw new Error(`expected an error, got ${error}`)
  return error
}

for (const [name, open] of Object.entries(places)) {
  test(`rows 1, 3, 4, 5, 6: ${name} keeps checkpoints`, async () => {
    await using place = await open()
    const storage: Storage = place.storage()
    const first = aCheckpoint("a", { stepNumber: 10, metadata: { runtime: "docker", extra: 1 } })
    await storage.storeCheckpoint(first)
    expect(await place.read("jobs/j/checkpoints/a.json")).toBe(JSON.stringify(first))
    expect(await storage.retrieveCheckpoint("j", "a")).toEqual(first)
    await storage.storeCheckpoint({ ...first, stepNumber: 3 })
    await storage.storeCheckpoint(aCheckpoint("b", { stepNumber: 2 }))
    await place.write("jobs/j/checkpoints/broken.json", "{")
    const all = await storage.getCheckpointsByJobId("j")
    expect(all.map(({ id, stepNumber }) => [id, stepNumber])).toEqual([["b", 2], ["a", 3]])
    expect(await storage.getCheckpointsByJobId("none")).toEqual([])
    const missing = await failure(storage.retrieveCheckpoint("j", "none"))
    expect([missing.name, missing.message]).toEqual(["Error", "checkpoint not found: none"])
    expect(StoreError.is(missing.cause)).toBe(true)
    expect(StoreError.is(await failure(storage.retrieveCheckpoint("j", "broken")))).toBe(true)
  })

  test(`rows 1, 3, 7, 8, 9: ${name} keeps events`, async () => {
    await using place = await open()
    const storage: Storage = place.storage()
    for (const [time, step] of [[30, 1], [10, 2], [5, 3]] as const) await storage.storeEvent(anEvent(time, step))
    const type = "streamRunResult"
    expect(await place.read(`jobs/j/runs/r/event-30-1-${type}.json`)).toBe(JSON.stringify(anEvent(30, 1)))
    expect(await storage.getEventsByRun("j", "r")).toEqual([
      { timestamp: 30, stepNumber: 1, type },
      { timestamp: 10, stepNumber: 2, type },
      { timestamp: 5, stepNumber: 3, type },
    ])
    expect(await storage.getEventContents("j", "r")).toEqual([anEvent(5, 3), anEvent(10, 2), anEvent(30, 1)])
    expect(await storage.getEventContents("j", "r", 2)).toEqual([anEvent(10, 2), anEvent(30, 1)])
    expect(await storage.getEventContents("j", "r", 0)).toEqual([])
    expect([await storage.getEventsByRun("j", "none"), await storage.getEventContents("j", "none")]).toEqual([[], []])
  })

  test(`rows 1, 3, 10, 11, 12: ${name} keeps jobs`, async () => {
    await using place = await open()
    const storage: Storage = place.storage()
    expect([await storage.retrieveJob("a"), await storage.getAllJobs()]).toEqual([undefined, []])
    for (const [id, startedAt] of [["a", 1], ["b", 3], ["c", 2]] as const) {
      await storage.storeJob(aJob(id, { startedAt }))
    }
    expect(await place.read("jobs/a/job.json")).toBe(JSON.stringify(aJob("a", { startedAt: 1 }), null, 2))
    expect((await storage.getAllJobs()).map(({ id }) => id)).toEqual(["b", "c", "a"])
    await storage.storeJob(aJob("a", { startedAt: 9, status: "completed" }))
    expect(await storage.retrieveJob("a")).toEqual(aJob("a", { startedAt: 9, status: "completed" }))
    await place.write("jobs/b/job.json", "{")
    expect(StoreError.is(await failure(storage.retrieveJob("b")))).toBe(true)
    expect((await storage.getAllJobs()).map(({ id }) => id)).toEqual(["a", "c"])
  })

  test(`rows 1, 3, 13, 14: ${name} keeps run settings`, async () => {
    await using place = await open()
    const storage: Storage = place.storage()
    expect(await storage.getAllRuns()).toEqual([])
    await storage.storeEvent(anEvent(1, 1, { jobId: "a", runId: "1" }))
    for (const [job, run, updatedAt] of [["a", "1", 10], ["b", "1", 30], ["a", "2", 20]] as const) {
      await storage.storeRunSetting(aSetting(job, run, { updatedAt }))
    }
    expect(await place.read("jobs/a/runs/1/run-setting.json")).toBe(
      JSON.stringify(aSetting("a", "1", { updatedAt: 10 })),
    )
    const runs = async () => (await storage.getAllRuns()).map(({ jobId, runId }) => jobId + runId)
    expect(await runs()).toEqual(["b1", "a2", "a1"])
    const before = Date.now()
    await storage.storeRunSetting(aSetting("a", "1", { model: "another" }))
    expect(await runs()).toEqual(["a1", "b1", "a2"])
    const [{ updatedAt, ...rest }] = await storage.getAllRuns() as [RunSetting]
    expect(updatedAt).toBeGreaterThanOrEqual(before)
    expect({ ...rest, updatedAt: 10 }).toEqual(aSetting("a", "1", { updatedAt: 10 }))
  })

  test(`rows 24, 25: what one ${name} stores another retrieves, through methods that stand alone`, async () => {
    await using place = await open()
    await using here = place.storage()
    await using elsewhere = place.storage()
    /** A runtime as far as its storage goes: it stores a step, and takes up from it. */
    const dispatchToRuntime = async ({ storeCheckpoint, retrieveCheckpoint }: {
      readonly storeCheckpoint: (checkpoint: Checkpoint) => Promise<void>
      readonly retrieveCheckpoint: (jobId: string, checkpointId: string) => Promise<Checkpoint>
    }): Promise<{ checkpoint: Checkpoint }> => {
      await storeCheckpoint(aCheckpoint("step-1"))
      const last = await retrieveCheckpoint("j", "step-1")
      await storeCheckpoint({ ...last, id: "step-2", stepNumber: last.stepNumber + 1 })
      return { checkpoint: await retrieveCheckpoint("j", "step-2") }
    }
    const { storeCheckpoint } = here
    const { retrieveCheckpoint } = elsewhere
    const { checkpoint } = await dispatchToRuntime({ storeCheckpoint, retrieveCheckpoint })
    expect(checkpoint.stepNumber).toBe(2)
    expect((await elsewhere.getCheckpointsByJobId("j")).map(({ id }) => id)).toEqual(["step-1", "step-2"])
  })
}

test("row 15: no backend named is the file system, in perstack/ of the process's folder", async () => {
  await using folder = await temporary()
  expect(createStorage()).toBeInstanceOf(FileSystemStorage)
  await using storage = createStorage({ basePath: join(folder.path, "here") })
  await storage.storeJob(aJob("j"))
  expect(await readdir(join(folder.path, "here", "jobs"))).toEqual(["j"])
  expect(createStorage({ backend: "s3", bucket: "b", region: "us-east-1" })).toBeInstanceOf(S3Storage)
  expect(createStorage({ backend: "r2", accountId, bucket: "b", accessKeyId: "a", secretAccessKey: "s" }))
    .toBeInstanceOf(R2Storage)
  expect(() => createStorage({ backend: "tape" } as never)).toThrow('"tape" is none of')
})

test("row 16: FileSystemStorage without a basePath writes under perstack/ of the process's folder", async () => {
  await using folder = await temporary()
  const before = process.cwd()
  let storage: FileSystemStorage
  try {
    process.chdir(folder.path)
    storage = new FileSystemStorage()
  } finally {
    process.chdir(before)
  }
  await using used = storage
  await used.storeJob(aJob("j"))
  expect(await readFile(join(folder.path, "perstack", "jobs", "j", "job.json"), "utf8"))
    .toBe(JSON.stringify(aJob("j"), null, 2))
})

test("row 17: below jobs/ are exactly Perstack's files, and only their owner may read them", async () => {
  await using folder = await temporary()
  await using storage = new FileSystemStorage({ basePath: folder.path })
  await storage.storeJob(aJob("j"))
  await storage.storeCheckpoint(aCheckpoint("c"))
  await storage.storeRunSetting(aSetting("j", "r"))
  await storage.storeEvent(anEvent(1_700_000_000_000, 1))
  const found = (await readdir(join(folder.path, "jobs"), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(folder.path.length + 1))
  const expected: Record<string, string> = {
    "jobs/j/checkpoints/c.json": JSON.stringify(aCheckpoint("c")),
    "jobs/j/job.json": JSON.stringify(aJob("j"), null, 2),
    "jobs/j/runs/r/event-1700000000000-1-streamRunResult.json": JSON.stringify(anEvent(1_700_000_000_000, 1)),
    "jobs/j/runs/r/run-setting.json": JSON.stringify(aSetting("j", "r")),
  }
  expect(found.sort()).toEqual(Object.keys(expected))
  for (const [file, text] of Object.entries(expected)) {
    expect(await readFile(join(folder.path, file), "utf8")).toBe(text)
    expect((await stat(join(folder.path, file))).mode & 0o777).toBe(0o600)
  }
  // The folder holds nothing else but what Holdfast knows of the files.
  expect((await readdir(folder.path)).sort()).toEqual([".holdfast", "jobs"])
})

test("files that Perstack has written are read, changed and listed as they are", async () => {
  await using folder = await temporary()
  const files: Record<string, string> = {
    "jobs/old/job.json": JSON.stringify({ ...aJob("old"), added: "by a later version" }, null, 2),
    "jobs/old/checkpoints/c.json": JSON.stringify(aCheckpoint("c", { jobId: "old" })),
    "jobs/old/runs/r/run-setting.json": JSON.stringify(aSetting("old", "r")),
    "jobs/old/runs/r/event-5-1-startRun.json": JSON.stringify({ ...anEvent(5, 1), jobId: "old", type: "startRun" }),
  }
  for (const [file, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder.path, file)), { recursive: true })
    await writeFile(join(folder.path, file), text)
  }
  await using storage = new FileSystemStorage({ basePath: folder.path })
  expect((await storage.getAllJobs()).map((job) => Object.entries(job).at(-1))).toEqual([[
    "added",
    "by a later version",
  ]])
  expect((await storage.retrieveCheckpoint("old", "c")).jobId).toBe("old")
  expect(await storage.getEventsByRun("old", "r")).toEqual([{ timestamp: 5, stepNumber: 1, type: "startRun" }])
  await storage.storeRunSetting(aSetting("old", "r", { model: "another" }))
  await storage.storeJob(aJob("old", { status: "completed" }))
  await storage.storeCheckpoint(aCheckpoint("c", { jobId: "old", stepNumber: 7 }))
  expect((await storage.getAllRuns())[0]?.model).toBe("some-model")
  expect((await storage.retrieveJob("old"))?.status).toBe("completed")
  expect((await storage.getCheckpointsByJobId("old"))[0]?.stepNumber).toBe(7)
})

test("a file that something else has changed since is damaged, not lost: it is told, and a store of it heals it", async () => {
  await using folder = await temporary()
  const told: Array<string | undefined> = []
  const onUnreadable = ({ key }: StoreError) => told.push(key)
  await using storage = new FileSystemStorage({ basePath: folder.path, onUnreadable })
  for (const text of [JSON.stringify(aJob("j", { totalSteps: 5 }), null, 2), "{}", ""]) {
    await storage.storeJob(aJob("j"))
    await storage.storeCheckpoint(aCheckpoint("c"))
    for (const file of ["job.json", "checkpoints/c.json"]) await writeFile(join(folder.path, "jobs/j", file), text)
    expect(StoreError.is(await failure(storage.retrieveJob("j")))).toBe(true)
    told.length = 0
    expect([await storage.getAllJobs(), await storage.getCheckpointsByJobId("j")]).toEqual([[], []])
    expect(told).toEqual(["jobs/j/job.json", "jobs/j/checkpoints/c.json"])
    await storage.storeJob(aJob("j", { totalSteps: 6 }))
    await storage.storeCheckpoint(aCheckpoint("c", { stepNumber: 6 }))
    expect((await storage.retrieveJob("j"))?.totalSteps).toBe(6)
    expect((await storage.retrieveCheckpoint("j", "c")).stepNumber).toBe(6)
  }
})

/** A bucket and the requests that came for it. */
const recorded = (options: Parameters<typeof makeS3Peer>[0] = {}) => {
  const peer = makeS3Peer({ seed: 1, ...options })
  const requests: Array<{ readonly url: URL; readonly authorization: string }> = []
  const fetch: PeerFetch = (input, init) => {
    const headers = new Headers(init?.headers)
    requests.push({ url: new URL(String(input)), authorization: headers.get("authorization") ?? "" })
    return peer.fetch(input, init)
  }
  return { peer, fetch, requests }
}

const keysIn = (peer: ReturnType<typeof makeS3Peer>, bucket: string): ReadonlyArray<string> =>
  [...new Set(peer.requests.filter(({ key }) => peer.object(bucket, key) !== undefined).map(({ key }) => key))].sort()

test("row 18: the prefix is a folder, with or without its slash; without one keys begin with jobs/", async () => {
  for (const [prefix, folder] of [["", ""], ["perstack", "perstack/"], ["perstack/", "perstack/"], ["/a", "/a/"]]) {
    const s3 = recorded()
    const r2 = recorded({ region: "auto", quirks: "r2" })
    const [bucket, keys] = ["test", peerCredentials]
    for (
      const [peer, storage] of [
        [s3.peer, new S3Storage({ bucket, region: "us-east-1", prefix, credentials: keys, fetch: s3.fetch })],
        [r2.peer, new R2Storage({ accountId, bucket, ...keys, prefix, fetch: r2.fetch })],
      ] as const
    ) {
      await storage.storeJob(aJob("j"))
      await storage.storeCheckpoint(aCheckpoint("c"))
      await storage.storeRunSetting(aSetting("j", "r"))
      await storage.storeEvent(anEvent(5, 1))
      expect(keysIn(peer, "test")).toEqual([
        `${folder}jobs/j/checkpoints/c.json`,
        `${folder}jobs/j/job.json`,
        `${folder}jobs/j/runs/r/event-5-1-streamRunResult.json`,
        `${folder}jobs/j/runs/r/run-setting.json`,
      ])
      expect((await storage.getAllJobs()).length).toBe(1)
    }
  }
})

test("row 19: bucket, region, prefix, credentials, endpoint and forcePathStyle are seen on the wire", async () => {
  const bucket = "my-perstack-bucket"
  const amazon = recorded({ buckets: [bucket], region: "eu-west-1" })
  await new S3Storage({
    bucket,
    region: "eu-west-1",
    prefix: "p",
    credentials: peerCredentials,
    fetch: amazon.fetch,
  }).retrieveJob("j")
  const [{ url, authorization }] = amazon.requests as [{ url: URL; authorization: string }]
  expect(url.origin + url.pathname).toBe(`https://${bucket}.s3.eu-west-1.amazonaws.com/p/jobs/j/job.json`)
  expect(authorization).toContain(`Credential=${peerCredentials.accessKeyId}/`)
  expect(authorization).toContain("/eu-west-1/s3/aws4_request")

  for (const forcePathStyle of [true, false]) {
    const local = recorded({ buckets: [bucket], domains: ["localhost"] })
    const credentials = () => Promise.resolve(peerCredentials)
    const endpoint = "http://localhost:9000"
    const storage = new S3Storage({
      bucket,
      region: "us-east-1",
      credentials,
      endpoint,
      forcePathStyle,
      fetch: local.fetch,
    })
    expect(await storage.retrieveJob("j")).toBeUndefined()
    expect(local.requests[0]?.url.href).toBe(
      forcePathStyle
        ? `http://localhost:9000/${bucket}/jobs/j/job.json`
        : `http://${bucket}.localhost:9000/jobs/j/job.json`,
    )
  }
})

test("row 19: without credentials they are those of the environment", async () => {
  const { fetch, requests } = recorded({ buckets: ["b-1"] })
  const names = { AWS_ACCESS_KEY_ID: "accessKeyId", AWS_SECRET_ACCESS_KEY: "secretAccessKey" } as const
  const before = Object.keys(names).map((name) => [name, process.env[name]] as const)
  try {
    for (const [name, field] of Object.entries(names)) process.env[name] = peerCredentials[field]
    expect(await new S3Storage({ bucket: "b-1", region: "us-east-1", fetch }).getAllJobs()).toEqual([])
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
  expect(requests[0]?.authorization).toContain(`Credential=${peerCredentials.accessKeyId}/`)
})

test("rows 5, 11: a bucket that is not there or not allowed is never taken for a missing checkpoint or job", async () => {
  const denied = recorded({ rules: [{ fault: { kind: "error", status: 403, code: "AccessDenied" } }] })
  for (const [bucket, { fetch }, reason] of [["gone", recorded(), "Config"], ["test", denied, "Forbidden"]] as const) {
    const storage = new S3Storage({ bucket, region: "us-east-1", credentials: peerCredentials, fetch })
    for (
      const read of [() => storage.retrieveCheckpoint("j", "c"), () => storage.retrieveJob("j"), storage.getAllJobs]
    ) {
      const error = await failure(read())
      expect(StoreError.is(error) && error.reason).toBe(reason)
    }
  }
})

test("row 20: a service without conditions, such as LocalStack, is used as the original does", async () => {
  const peer = makeS3Peer({ seed: 1, quirks: "generic" })
  const server = await peer.listen()
  try {
    const storage = new S3Storage({
      bucket: "test",
      region: "us-east-1",
      credentials: peerCredentials,
      endpoint: server.url,
      forcePathStyle: true,
    })
    await storage.storeJob(aJob("j"))
    await storage.storeEvent(anEvent(1, 1))
    for (const model of ["one", "two"]) await storage.storeRunSetting(aSetting("j", "r", { model }))
    expect((await storage.getAllRuns()).map(({ model }) => model)).toEqual(["one"])
    expect(await storage.getEventContents("j", "r")).toEqual([anEvent(1, 1)])
    expect(peer.requests.every(({ target }) => target.startsWith("/test"))).toBe(true)
  } finally {
    await server.close()
  }
})

test("row 21: R2Storage asks R2's host for the account, and signs for the region auto", async () => {
  const { fetch, requests } = recorded({ buckets: ["my-perstack-bucket"], region: "auto", quirks: "r2" })
  const options = { bucket: "my-perstack-bucket", ...peerCredentials, prefix: "perstack/", fetch }
  await new R2Storage({ accountId: "your-cloudflare-account-id", ...options }).retrieveJob("j")
  const [{ url, authorization }] = requests as [{ url: URL; authorization: string }]
  expect(url.href).toBe(
    "https://your-cloudflare-account-id.r2.cloudflarestorage.com/my-perstack-bucket/perstack/jobs/j/job.json",
  )
  expect(authorization).toContain(`Credential=${peerCredentials.accessKeyId}/`)
  expect(authorization).toContain("/auto/s3/aws4_request")
  for (const accountId of ["", "evil.example/", "a.b", "a@b"]) {
    const error = await failure(new R2Storage({ accountId, ...options }).getAllJobs())
    expect(error.message).toContain("the accountId is not an account of Cloudflare")
  }
  expect(requests.length).toBe(1)
})

test("row 23: keys that R2 refuses are explained with the three steps to get them, without saying the keys", async () => {
  expect(r2CredentialSteps).toContain("Cloudflare Dashboard > R2 > Manage R2 API Tokens")
  expect(r2CredentialSteps).toContain('"Object Read & Write" permissions')
  expect(r2CredentialSteps).toContain("Access Key ID and Secret Access Key")
  for (const status of [401, 403]) {
    const { fetch } = recorded({
      region: "auto",
      quirks: "r2",
      rules: [{ fault: { kind: "error", status, code: status === 401 ? "Unauthorized" : "AccessDenied" } }],
    })
    const error = await failure(new R2Storage({ accountId, bucket: "test", ...peerCredentials, fetch }).getAllJobs())
    expect(StoreError.is(error) && error.hint).toContain(r2CredentialSteps)
    expect(JSON.stringify(error) + error.stack).not.toContain(peerCredentials.secretAccessKey)
  }
})

test("row 26: a replica in another region, simulated by copying every object, has the same checkpoints", async () => {
  const origin = recorded({ buckets: ["origin"], region: "us-east-1" })
  const replica = recorded({ buckets: ["replica"], region: "eu-west-1", anonymous: true })
  const credentials = peerCredentials
  const storage = new S3Storage({ bucket: "origin", region: "us-east-1", credentials, fetch: origin.fetch })
  for (const [id, stepNumber] of [["a", 2], ["b", 1]] as const) {
    await storage.storeCheckpoint(aCheckpoint(id, { stepNumber }))
  }
  for (const key of keysIn(origin.peer, "origin")) {
    const body = new Uint8Array(origin.peer.object("origin", key)!.bytes)
    await replica.peer.fetch(`https://s3.eu-west-1.amazonaws.com/replica/${key}`, { method: "PUT", body })
  }
  const there = new S3Storage({ bucket: "replica", region: "eu-west-1", credentials, fetch: replica.fetch })
  expect(await there.getCheckpointsByJobId("j")).toEqual(await storage.getCheckpointsByJobId("j"))
  expect((await there.getCheckpointsByJobId("j")).map(({ id }) => id)).toEqual(["b", "a"])
})

test("an option redact keeps secrets out of what is stored; a storage that is closed opens again when it is used", async () => {
  await using folder = await temporary()
  const config: FileSystemStorageConfig = { basePath: folder.path, redact: true }
  await using storage = new FileSystemStorage(config)
  await storage.storeRunSetting(aSetting("j", "r"))
  await storage.close()
  expect((await storage.getAllRuns())[0]?.redacted).toEqual(["providerConfig.apiKey", "env.TOKEN"])
  expect(await readFile(join(folder.path, "jobs/j/runs/r/run-setting.json"), "utf8")).not.toContain("sk-secret")
})

const program = `
import { FileSystemStorage } from "@perstack/filesystem-storage"
import { R2Storage } from "@perstack/r2-storage"
import { S3Storage } from "@perstack/s3-storage"
const storage = new FileSystemStorage({ basePath: process.argv[2] })
await storage.storeJob(${JSON.stringify(aJob("j"))})
const s3 = new S3Storage({ bucket: "my-bucket", region: "us-east-1" })
const r2 = new R2Storage({ accountId: "a", bucket: "b", accessKeyId: "c", secretAccessKey: "d", prefix: "perstack/" })
console.log(JSON.stringify([(await storage.getAllJobs()).length, typeof s3.storeEvent, typeof r2.getAllRuns]))
`

onlyOn("bun", "the names are led here by Bun's reading of tsconfig.json")(
  "row 2: a program that imports Perstack's packages runs when their names lead here",
  async () => {
    // Inside the project, where its dependencies are found.
    await mkdir(`${root}.cache`, { recursive: true })
    const folder = await mkdtemp(`${root}.cache/perstack-`)
    try {
      const names = ["filesystem-storage", "s3-storage", "r2-storage"]
      const paths = Object.fromEntries(names.map((name) => [`@perstack/${name}`, [`${root}src/compat/perstack.ts`]]))
      await writeFile(`${folder}/tsconfig.json`, JSON.stringify({ compilerOptions: { paths } }))
      await writeFile(`${folder}/program.ts`, program)
      const out = await new Promise<string>((resolve, reject) => {
        execFile(process.execPath, ["program.ts", `${folder}/data`], { cwd: folder }, (error, stdout, stderr) => {
          if (error === null) resolve(stdout)
          else reject(new Error(stdout + stderr))
        })
      })
      expect(JSON.parse(out)).toEqual([1, "function", "function"])
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
)
