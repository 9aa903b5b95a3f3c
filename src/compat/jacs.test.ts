import { expect, test } from "bun:test"
import { execFile } from "node:child_process"
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { onlyOn } from "../../scripts/only-on.ts"
import * as S3 from "../backends/s3/mod.ts"
import * as Webdav from "../backends/webdav/mod.ts"
import { makePeer as makeDavPeer } from "../backends/webdav/testing.ts"
import { StoreError } from "../error.ts"
import type { OpenOptions } from "../open.ts"
import { run } from "../run.ts"
import { openBackend, type Store } from "../store.ts"
import { parseStoreUrl } from "../store-url.ts"
import { type Document, generateEd25519Keys } from "../stores/documents.ts"
import { makeS3Peer, peerCredentials } from "../testing/s3/mod.ts"
import { configOf, storeUrlOf } from "./jacs-config.ts"
import { decrypted, encrypted } from "./jacs-keys.ts"
import { auditModes, chooseBackend, iamPolicy, JacsAgent } from "./jacs.ts"

/** A folder of its own; configurations in it name folders in it. */
class Workplace implements AsyncDisposable {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async make(): Promise<Workplace> {
    return new Workplace(await mkdtemp(join(tmpdir(), "holdfast-jacs-")))
  }

  at(name: string): string {
    return join(this.path, name)
  }

  /** Writes a configuration that keeps its keys here. */
  async config(fields: Record<string, string>, name = "jacs.config.json"): Promise<string> {
    await writeFile(this.at(name), JSON.stringify({ jacs_key_directory: this.at("jacs_keys"), ...fields }))
    return this.at(name)
  }

  /** A configuration of the kind `fs` in `jacs_data`. */
  fs(name?: string): Promise<string> {
    return this.config({ jacs_default_storage: "fs", jacs_data_directory: this.at("jacs_data") }, name)
  }

  /** The files of a folder, without what Holdfast keeps for itself. */
  async files(folder = "jacs_data"): Promise<ReadonlyArray<string>> {
    const found: Array<string> = []
    for (const entry of await readdir(this.at(folder), { recursive: true, withFileTypes: true }).catch(() => [])) {
      const path = join(entry.parentPath, entry.name).slice(this.at(folder).length + 1)
      if (entry.isFile() && !path.startsWith(".holdfast")) found.push(path)
    }
    return found.toSorted()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}

const env = {}

const document = (text: string): Document => JSON.parse(text) as Document

const keyOf = (text: string): string => `${document(text).jacsId}:${document(text).jacsVersion}`

const failure = async (call: Promise<unknown>): Promise<Error> => {
  const error = await call.then(() => undefined, (error: unknown) => error)
  if (!(error instanceof Error)) throw new Error(`expected an error, got ${String(error)}`)
  return error
}

/** Without a peer's socket: opens buckets of a scripted service, and keeps the requests. */
const makeBuckets = () => {
  const peer = makeS3Peer({ seed: 1, buckets: ["my-jacs-bucket", "other"] })
  const requests: Array<Request> = []
  const opened: Array<string> = []
  const fetch = (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init)
    requests.push(request.clone())
    return peer.fetch(request)
  }
  const open = (url: string, options: OpenOptions): Promise<Store> => {
    opened.push(url)
    const location = parseStoreUrl(url, options.env ?? {})
    if (location.kind !== "s3") throw new Error(`not a bucket: ${url}`)
    const { bucket, prefix, region, accessKeyId, secretAccessKey } = location.options
    if (accessKeyId === undefined || secretAccessKey === undefined) throw new Error("no credentials")
    const backend = S3.make({ bucket, prefix, region, accessKeyId, secretAccessKey, profile: "aws", fetch })
    return openBackend(backend, options)
  }
  return { open, requests, opened }
}

const credentials = {
  S3_ACCESS_KEY_ID: peerCredentials.accessKeyId,
  S3_SECRET_ACCESS_KEY: peerCredentials.secretAccessKey,
  AWS_REGION: "us-east-1",
}

test("rows 35, 36, 143, 144, 154: a configuration is loaded, and a document and its agent are where the page says", async () => {
  await using place = await Workplace.make()
  await using agent = new JacsAgent({ env })
  const self = document(await agent.load(await place.fs()))
  await writeFile(place.at("report.pdf"), "%PDF")
  const text = await agent.createDocument(
    JSON.stringify({ title: "My Document" }),
    null,
    null,
    false,
    place.at("report.pdf"),
  )
  const made = document(text)
  expect(await place.files()).toEqual([
    `agents/${self.jacsId}/${self.jacsVersion}.json`,
    `documents/${made.jacsId}/${made.jacsVersion}.json`,
    `files/${made.jacsFiles![0]!.sha256}`,
  ])
  expect(await readFile(place.at(`jacs_data/documents/${made.jacsId}/${made.jacsVersion}.json`), "utf8")).toBe(text)
  expect([made.jacsSignature!.agentID, made.jacsSignature!.agentVersion]).toEqual([self.jacsId, self.jacsVersion])
  expect(await agent.verifyDocument(text)).toBe(true)
  expect(await agent.verifyDocument(JSON.stringify(self))).toBe(true)
  // The same keys are the same agent the next time.
  await using again = new JacsAgent({ env })
  expect(document(await again.load(place.at("jacs.config.json")))).toEqual(self)
  expect(await again.verifyDocument(await again.getDocument(keyOf(text)))).toBe(true)
})

test("row 34: without a configuration, storage is fs in ./jacs_data", () => {
  const config = configOf({}, {})
  expect([config.storage, config.dataDirectory, config.keyDirectory]).toEqual(["fs", "./jacs_data", "./jacs_keys"])
  expect(storeUrlOf(config, {})).toBe("file:./jacs_data")
})

/** Runs a program that creates and verifies documents where it is started, and returns the last of them. */
const inItsOwnProcess = async (
  cwd: string,
  variables: Record<string, string>,
  wrapper: ReadonlyArray<string> = [],
): Promise<Document> => {
  const entry = fileURLToPath(new URL("jacs.ts", import.meta.url))
  const program = `import { JacsAgent } from ${JSON.stringify(entry)}
    await using agent = new JacsAgent()
    await agent.load()
    const text = await agent.createDocument('{"n":1}')
    if (!await agent.verifyDocument(text)) throw new Error("not verified")
    console.log(text)`
  // Inside the project, where packages are found.
  const file = fileURLToPath(new URL(`../../.cache/jacs-${crypto.randomUUID()}.ts`, import.meta.url))
  await mkdir(join(file, ".."), { recursive: true })
  await writeFile(file, program)
  try {
    const flags = process.versions["deno"] === undefined ? [] : ["run", "-A", "--no-check", "--config", configFile]
    const [command = "", ...args] = [...wrapper, process.execPath, ...flags, file]
    const own = { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "" }
    const { stdout } = await promisify(execFile)(command, args, { cwd, env: { ...own, ...variables } })
    return document(stdout)
  } finally {
    await rm(file, { force: true })
  }
}

test("rows 34, 40: the default works in a program of its own, also with its data on another file system", async () => {
  await using place = await Workplace.make()
  const memory = "/dev/shm"
  const other = await stat(memory).then(({ dev }) => dev, () => undefined)
  const elsewhere = other !== undefined && other !== (await stat(place.path)).dev
    ? await mkdtemp(join(memory, "holdfast-jacs-"))
    : place.at("elsewhere")
  try {
    for (
      const [path, variables] of [[place.at("jacs_data"), {}], [elsewhere, { JACS_DATA_DIRECTORY: elsewhere }]] as const
    ) {
      const { jacsId, jacsVersion } = await inItsOwnProcess(place.path, variables)
      expect((await stat(join(path, "documents", jacsId, `${jacsVersion}.json`))).mode & 0o777).toBe(0o600)
    }
  } finally {
    await rm(elsewhere, { recursive: true, force: true })
  }
}, 60_000)

/** Starts a program where there is no network at all, not even this machine's own. */
const unshare = ["unshare", "--map-root-user", "--net"]
const canUnshare = await promisify(execFile)(unshare[0]!, [...unshare.slice(1), "true"]).then(() => true, () => false)
const withoutNetwork = canUnshare
  ? test
  : (name: string, run: () => Promise<void>, _timeout: number) =>
    test.skip(`${name} (skipped: unshare is not possible here)`, run)

withoutNetwork("rows 37, 153: where there is no network, documents are created and verified", async () => {
  await using place = await Workplace.make()
  const { jacsId } = await inItsOwnProcess(place.path, {}, unshare)
  expect((await place.files()).filter((path) => path.includes(jacsId)).length).toBe(1)
}, 60_000)

const configFile = fileURLToPath(new URL("../../deno.test.json", import.meta.url))

test("row 153: nothing is asked of any network while documents are created, updated and verified", async () => {
  await using place = await Workplace.make()
  const called: Array<unknown> = []
  const { fetch } = globalThis
  const refused = (input: unknown): Promise<Response> => {
    called.push(input)
    return Promise.reject(new Error("there is no network"))
  }
  Object.assign(globalThis, { fetch: refused })
  try {
    await using agent = new JacsAgent({ env })
    await agent.load(await place.fs())
    const text = await agent.createDocument(JSON.stringify({ jacsLevel: "artifact" }))
    const next = await agent.updateDocument(keyOf(text), JSON.stringify({ ...document(text), n: 2 }))
    for (const one of [text, next]) expect(await agent.verifyDocument(one)).toBe(true)
  } finally {
    Object.assign(globalThis, { fetch })
  }
  expect(called).toEqual([])
})

test("rows 87, 88: the 4th argument keeps a document from being stored; nothing appears anywhere", async () => {
  await using place = await Workplace.make()
  await using agent = new JacsAgent({ env })
  await agent.load(await place.fs())
  const everything = async () => (await readdir(place.path, { recursive: true })).toSorted()
  const before = await everything()
  const text = await agent.createDocument(JSON.stringify({ temp: "data" }), null, null, true)
  const named = await agent.createDocument("{}", null, place.at("out.json"), true)
  expect(await everything()).toEqual(before)
  for (const one of [text, named]) {
    expect(document(one).jacsSignature!.signature).toMatch(/^[A-Za-z0-9+/]{86}==$/)
    expect(await agent.verifyDocument(one)).toBe(true)
  }
  expect((await failure(agent.getDocument(keyOf(text)))).message).toBe(`Document not found: ${keyOf(text)}`)
  await agent.createDocument("{}", "https://hai.ai/schemas/message/v1/message.schema.json", place.at("out.json"))
  const written = document(await readFile(place.at("out.json"), "utf8"))
  expect([written.jacsType, (await stat(place.at("out.json"))).mode & 0o777]).toEqual(["message", 0o600])
})

test("rows 146, 147, 149: attachments are embedded or named, a folder is all its files, and changes are found", async () => {
  await using place = await Workplace.make()
  await using agent = new JacsAgent({ env })
  await agent.load(await place.fs())
  await mkdir(place.at("reports/2026"), { recursive: true })
  for (const name of ["reports/b.txt", "reports/a.csv", "reports/2026/c.md"]) await writeFile(place.at(name), name)
  const folder = place.at("reports")
  const embedded = document(await agent.createDocument("{}", null, null, false, folder, true))
  expect(embedded.jacsFiles!.map(({ path, mimetype }) => [path.slice(folder.length), mimetype])).toEqual([
    ["/2026/c.md", "text/markdown"],
    ["/a.csv", "text/csv"],
    ["/b.txt", "text/plain"],
  ])
  expect(embedded.jacsFiles!.every(({ embed, contents }) => embed && contents !== undefined)).toBe(true)
  const named = document(await agent.createDocument("{}", null, null, false, [folder], false))
  expect(named.jacsFiles!.every(({ embed, contents, sha256 }) => !embed && contents === undefined && sha256)).toBe(true)
  for (const one of [embedded, named]) expect(await agent.verifyDocument(JSON.stringify(one))).toBe(true)
  await writeFile(place.at("reports/b.txt"), "changed")
  expect((await failure(agent.verifyDocument(JSON.stringify(named)))).message).toContain("b.txt")
  await rm(place.at("reports/b.txt"))
  expect((await failure(agent.verifyDocument(JSON.stringify(named)))).message).toContain("is not there")
  // What is embedded needs no file.
  await rm(folder, { recursive: true })
  expect(await agent.verifyDocument(JSON.stringify(embedded))).toBe(true)
  expect((await failure(agent.createDocument("{}", null, null, false, folder))).message).toContain("is not there")
})

test("rows 142, 145, 151: versions by id:version, and what JACS lets be updated", async () => {
  await using place = await Workplace.make()
  await using agent = new JacsAgent({ env })
  await agent.load(await place.fs())
  const raw = await agent.createDocument(JSON.stringify({ n: 1 }))
  expect((await failure(agent.updateDocument(keyOf(raw), raw))).message).toBe("JACS docs of type raw are not editable")
  const first = await agent.createDocument(JSON.stringify({ n: 1, jacsLevel: "artifact" }))
  const second = await agent.updateDocument(keyOf(first), JSON.stringify({ ...document(first), n: 2 }))
  expect([document(second)["n"], document(second).jacsPreviousVersion]).toEqual([2, document(first).jacsVersion])
  expect(await agent.getDocument(keyOf(first))).toBe(first)
  expect(await agent.getLatestDocument(document(first).jacsId)).toBe(second)
  const late = await failure(agent.updateDocument(keyOf(first), JSON.stringify({ ...document(first), n: 3 })))
  expect(StoreError.is(late) && late.reason).toBe("Conflict")
  const wrong = agent.updateDocument(keyOf(first), second)
  expect((await failure(wrong)).message).toContain("do not match")
  await agent.removeDocument(keyOf(second))
  expect((await failure(agent.getDocument(keyOf(second)))).message).toBe(`Document not found: ${keyOf(second)}`)
  for (const json of ["{", "[]", "null"]) expect((await failure(agent.createDocument(json))).message).toContain("JSON")
  expect((await failure(agent.createDocument(first))).message).toBe("New JACs documents should have no id or version")
})

test("a document that was tampered with, or is by an unknown agent, does not verify", async () => {
  await using place = await Workplace.make()
  await using agent = new JacsAgent({ env })
  await agent.load(await place.fs())
  const text = await agent.createDocument(JSON.stringify({ amount: 1 }))
  const forged = JSON.stringify({ ...document(text), amount: 2 })
  expect((await failure(agent.verifyDocument(forged))).message).toContain("jacsSha256")
  await using stranger = new JacsAgent({ env: { JACS_DEFAULT_STORAGE: "memory" } })
  await stranger.load()
  expect((await failure(stranger.verifyDocument(text))).message).toBe("the document's signature is unknown")
  // Its public key beside the documents makes it known, as JACS has it.
  const hash = document(text).jacsSignature!.publicKeyHash
  const key = await readFile(place.at("jacs_keys/jacs.public.pem"))
  await run(stranger.documents.service.store.save(`public_keys/${hash}.pem`, key))
  expect(await stranger.verifyDocument(text)).toBe(true)
})

test("row 89: storage in memory needs no file at all", async () => {
  await using place = await Workplace.make()
  await using agent = new JacsAgent({ env })
  const path = place.at("memory.json")
  await writeFile(path, JSON.stringify({ jacs_default_storage: "memory" }))
  await agent.load(path)
  const text = await agent.createDocument("{}")
  expect(await agent.getDocument(keyOf(text))).toBe(text)
  expect(await readdir(place.path)).toEqual(["memory.json"])
})

test("rows 54, 55: the tree in a bucket is the tree of the folder, under the path of the s3:// URL", async () => {
  await using place = await Workplace.make()
  const { open, opened } = makeBuckets()
  await using onDisk = new JacsAgent({ env })
  await onDisk.load(await place.fs())
  await using inBucket = new JacsAgent({ env: credentials, open })
  const directory = "s3://my-jacs-bucket/data"
  await inBucket.load(await place.config({ jacs_default_storage: "aws", jacs_data_directory: directory }, "s3.json"))
  expect(opened).toEqual([directory])
  await writeFile(place.at("a.txt"), "attached")
  await onDisk.createDocument(JSON.stringify({ n: 1 }), null, null, false, place.at("a.txt"))
  // The same keys are the same agent, wherever it is: it moves with its documents.
  await inBucket.documents.copyFrom(onDisk.documents)
  await using whole = await open("s3://my-jacs-bucket", { env: credentials })
  const keys = (await Array.fromAsync(whole.list())).map(({ key }) => key)
  expect(keys).toEqual((await place.files()).map((path) => `data/${path}`))
  expect(keys.length).toBe(3)
})

test("row 55: without an s3:// directory the bucket comes from JACS' own variable", () => {
  const config = configOf({ jacs_default_storage: "aws" }, {})
  expect(storeUrlOf(config, { JACS_ENABLE_AWS_BUCKET_NAME: "bucket" })).toBe("s3://bucket/jacs_data")
  expect(() => storeUrlOf(config, {})).toThrow("nothing names a bucket")
  const disk = configOf({ jacs_data_directory: "s3://bucket/data" }, {})
  expect(() => storeUrlOf(disk, {})).toThrow("jacs_default_storage is fs")
})

test("row 161: the storages that there are, and a refusal that lists them", async () => {
  for (const storage of ["fs", "aws", "hai", "memory"]) {
    expect(configOf({ jacs_default_storage: storage }, {}).storage).toBe(storage as never)
  }
  expect(() => configOf({ jacs_default_storage: "sqlite" }, {})).toThrow(
    'jacs_default_storage is "sqlite"; it can be fs, aws, hai, memory',
  )
  expect(() => configOf({ jacs_data_directory: 7 }, {})).toThrow("jacs_data_directory must be a string")
  await using place = await Workplace.make()
  const missing = await failure(new JacsAgent({ env }).load(place.at("none.json")))
  expect(missing.message).toContain("there is no configuration")
  for (const text of ["{", "[]"]) {
    await writeFile(place.at("bad.json"), text)
    expect((await failure(new JacsAgent({ env }).load(place.at("bad.json")))).message).toContain("no JSON")
  }
})

test("rows 90, 91: with hai documents are kept behind WebDAV, and only the environment says where", async () => {
  await using place = await Workplace.make()
  const peer = makeDavPeer()
  const opened: Array<string> = []
  const open = (url: string): Promise<Store> => {
    opened.push(url)
    return openBackend(Webdav.make({ url: url.replace("webdav+", ""), fetch: peer.fetch }))
  }
  await using agent = new JacsAgent({ env: { ...env, HAI_STORAGE_URL: "https://storage.example.com/v1" }, open })
  await agent.load(await place.config({ jacs_default_storage: "hai" }))
  expect(opened).toEqual(["webdav+https://storage.example.com/v1"])
  const made = JSON.parse(await agent.createDocument(JSON.stringify({ title: "kept elsewhere" })))
  const read = JSON.parse(await agent.getDocument(`${made.jacsId}:${made.jacsVersion}`))
  expect(read).toEqual(made)
  const next = await agent.documents.update(made.jacsId, (current) => ({ ...current, title: "changed" }))
  expect(next.jacsPreviousVersion).toBe(made.jacsVersion)
  await agent.verifyDocument(await agent.getLatestDocument(made.jacsId))
  expect([...peer.files.keys()].filter((path) => path.includes(made.jacsId)).length).toBeGreaterThanOrEqual(2)

  for (const url of [undefined, "", "ftp://host/x"]) {
    const config = configOf({ jacs_default_storage: "hai" }, {})
    expect(() => storeUrlOf(config, { HAI_STORAGE_URL: url })).toThrow("HAI_STORAGE_URL")
  }
})

test("row 162: aws_s3_encryption is asked of the service with every write", async () => {
  await using place = await Workplace.make()
  const directory = { jacs_default_storage: "aws", jacs_data_directory: "s3://my-jacs-bucket/data" }
  const asked = async (fields: Record<string, string>): Promise<ReadonlyArray<unknown>> => {
    const { open, requests } = makeBuckets()
    await using agent = new JacsAgent({ env: credentials, open })
    await agent.load(await place.config({ ...directory, ...fields }))
    await agent.createDocument("{}")
    const puts = requests.filter(({ method }) => method === "PUT")
    expect(puts.length).toBe(2)
    return [
      ...new Set(
        puts.map(({ headers }) =>
          [headers.get("x-amz-server-side-encryption"), headers.get("x-amz-server-side-encryption-aws-kms-key-id")]
            .join(" ")
        ),
      ),
    ]
  }
  expect(await asked({})).toEqual([" "])
  expect(await asked({ aws_s3_encryption: "AES256" })).toEqual(["AES256 "])
  expect(await asked({ aws_s3_encryption: "aws:kms" })).toEqual(["aws:kms "])
  expect(await asked({ aws_s3_encryption: "aws:kms", aws_s3_kms_key_id: "alias/jacs" })).toEqual(["aws:kms alias/jacs"])
  expect(() => configOf({ aws_s3_encryption: "rot13" }, {})).toThrow("it can be AES256 or aws:kms")
})

test("row 163: credentials set after the agent was made and before it is loaded are used", async () => {
  await using place = await Workplace.make()
  const { open } = makeBuckets()
  const changing: Record<string, string> = {}
  await using agent = new JacsAgent({ env: changing, open })
  const config = await place.config({ jacs_default_storage: "aws", jacs_data_directory: "s3://my-jacs-bucket/data" })
  expect((await failure(agent.load(config))).message).toBe("no credentials")
  Object.assign(changing, credentials)
  await agent.load(config)
  expect(await agent.verifyDocument(await agent.createDocument("{}"))).toBe(true)
})

test("row 163: the process's own environment is read when an agent is loaded", async () => {
  await using agent = new JacsAgent()
  process.env["JACS_DEFAULT_STORAGE"] = "memory"
  try {
    await agent.load()
    expect(agent.config.storage).toBe("memory")
  } finally {
    delete process.env["JACS_DEFAULT_STORAGE"]
  }
})

test("row 164: two agents of two configurations at once", async () => {
  await using place = await Workplace.make()
  const { open } = makeBuckets()
  await using onDisk = new JacsAgent({ env })
  await using inBucket = new JacsAgent({ env: credentials, open })
  const s3 = { jacs_default_storage: "aws", jacs_data_directory: "s3://my-jacs-bucket/data" }
  await Promise.all([
    onDisk.load(await place.fs("jacs.fs.config.json")),
    inBucket.load(await place.config({ ...s3, jacs_key_directory: place.at("s3_keys") }, "jacs.s3.config.json")),
  ])
  const [here, there] = await Promise.all(
    [onDisk, inBucket].map((agent, n) => agent.createDocument(JSON.stringify({ n }))),
  )
  expect(document(await onDisk.getDocument(keyOf(here!)))["n"]).toBe(0)
  expect(document(await inBucket.getDocument(keyOf(there!)))["n"]).toBe(1)
  await failure(onDisk.getDocument(keyOf(there!)))
  await failure(inBucket.getDocument(keyOf(here!)))
})

test("rows 150, 227: the page's recipe moves documents from the disk to S3, signed anew", async () => {
  await using place = await Workplace.make()
  const { open } = makeBuckets()
  await using onDisk = new JacsAgent({ env })
  await onDisk.load(await place.fs())
  const first = await onDisk.createDocument(JSON.stringify({ n: 1, jacsLevel: "artifact" }))
  await onDisk.updateDocument(keyOf(first), JSON.stringify({ ...document(first), n: 2 }))
  const before = await place.files()
  await using inBucket = new JacsAgent({ env: credentials, open })
  const s3 = { jacs_default_storage: "aws", jacs_data_directory: "s3://my-jacs-bucket/data" }
  await inBucket.load(await place.config({ ...s3, jacs_key_directory: place.at("s3_keys") }, "s3.json"))
  for await (const { id, version } of onDisk.documents.list()) {
    const doc: Record<string, unknown> = JSON.parse(await onDisk.getDocument(`${id}:${version}`))
    delete doc["jacsSignature"]
    delete doc["jacsSha256"]
    const moved = await inBucket.createDocument(JSON.stringify(doc))
    expect(keyOf(moved)).toBe(`${id}:${version}`)
    expect(await inBucket.verifyDocument(moved)).toBe(true)
  }
  expect(document(await inBucket.getLatestDocument(document(first).jacsId))["n"]).toBe(2)
  expect(await place.files()).toEqual(before)
})

test("rows 39, 219: whatever the umask, nobody else may look; audit tells what is looser", async () => {
  await using place = await Workplace.make()
  const mask = process.umask(0)
  try {
    await using agent = new JacsAgent({ env })
    await agent.load(await place.fs())
    await writeFile(place.at("a.txt"), "attached")
    const text = await agent.createDocument("{}", null, null, false, place.at("a.txt"))
    for (const folder of ["jacs_data", "jacs_keys"]) expect(await auditModes(place.at(folder))).toEqual([])
    const { jacsId, jacsVersion } = document(text)
    const path = place.at(`jacs_data/documents/${jacsId}/${jacsVersion}.json`)
    await chmod(path, 0o644)
    await chmod(place.at("jacs_data/files"), 0o750)
    expect(await auditModes(place.at("jacs_data"))).toEqual([
      { path, mode: "644", expected: "600" },
      { path: place.at("jacs_data/files"), mode: "750", expected: "700" },
    ])
  } finally {
    process.umask(mask)
  }
})

test("a private key is kept under its password, and opened in both of JACS' older ways", async () => {
  await using place = await Workplace.make()
  const secret = { JACS_PRIVATE_KEY_PASSWORD: "correct horse battery staple" }
  await using first = new JacsAgent({ env: secret })
  const self = await first.load(await place.fs())
  const stored = new Uint8Array(await readFile(place.at("jacs_keys/jacs.private.pem.enc")))
  expect(stored.length).toBe(28 + 48 + 16)
  await first.createDocument("{}")
  await using second = new JacsAgent({ env: secret })
  expect(await second.load(place.at("jacs.config.json"))).toBe(self)
  for (const password of [{}, { JACS_PRIVATE_KEY_PASSWORD: "wrong" }]) {
    const error = await failure(new JacsAgent({ env: password }).load(place.at("jacs.config.json")))
    expect(StoreError.is(error) && error.reason).toBe("Config")
    expect(error.message).not.toContain("wrong")
  }
  const keys = await generateEd25519Keys()
  expect(await decrypted(new Uint8Array(await encrypted(keys.privateKey, "p")), "p")).toEqual(keys.privateKey)
  // Before JACS 0.6: 100,000 rounds.
  const [salt, iv] = [new Uint8Array(16).fill(1), new Uint8Array(12).fill(2)]
  const raw = await crypto.subtle.importKey("raw", new TextEncoder().encode("p"), "PBKDF2", false, ["deriveKey"])
  const how = { name: "PBKDF2", hash: "SHA-256", salt, iterations: 100_000 }
  const key = await crypto.subtle.deriveKey(how, raw, { name: "AES-GCM", length: 256 }, false, ["encrypt"])
  const text = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, keys.privateKey))
  expect(await decrypted(new Uint8Array([...salt, ...iv, ...text]), "p")).toEqual(keys.privateKey)
})

onlyOn("bun", "Deno has no Argon2id")("a private key in JACS' newest envelope is opened", async () => {
  const { argon2Sync } = await import("node:crypto") as unknown as {
    argon2Sync: (name: string, options: object) => Uint8Array<ArrayBuffer>
  }
  const keys = await generateEd25519Keys()
  const [nonce, iv] = [new Uint8Array(16).fill(250), new Uint8Array(12).fill(251)]
  const message = new TextEncoder().encode("p")
  const secret = argon2Sync("argon2id", { message, nonce, parallelism: 1, tagLength: 32, memory: 1024, passes: 2 })
  const key = await crypto.subtle.importKey("raw", new Uint8Array(secret), "AES-GCM", false, ["encrypt"])
  const text = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, keys.privateKey))
  const base64url = (bytes: Uint8Array) =>
    btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")
  const envelope = JSON.stringify({
    jacsEncryptedPrivateKeyVersion: 2,
    cipher: "AES-256-GCM",
    kdf: { name: "Argon2id", version: 19, mCostKib: 1024, tCost: 2, pCost: 1 },
    salt: base64url(nonce),
    nonce: base64url(iv),
    ciphertext: base64url(text),
  })
  expect(await decrypted(new TextEncoder().encode(envelope), "p")).toEqual(keys.privateKey)
  expect(StoreError.is(await failure(decrypted(new TextEncoder().encode(envelope), "q")))).toBe(true)
})

test("keys of another algorithm, and half a key pair, are refused with what to do", async () => {
  await using place = await Workplace.make()
  const other = await place.config({ jacs_default_storage: "memory", jacs_agent_key_algorithm: "pq2025" })
  const unsupported = await failure(new JacsAgent({ env }).load(other))
  expect(StoreError.is(unsupported) && unsupported.reason).toBe("Unsupported")
  const config = await place.fs()
  await using agent = new JacsAgent({ env })
  await agent.load(config)
  await rm(place.at("jacs_keys/jacs.public.pem"))
  expect((await failure(new JacsAgent({ env }).load(config))).message).toContain("jacs.public.pem")
  expect((await failure(new JacsAgent({ env }).createDocument("{}"))).message).toContain("not loaded")
})

test("rows 152, 210: the guide and the policy of JACS are exported here as well", () => {
  expect(chooseBackend("jacs", "testing").recommended).toBe("In-memory (no_save)")
  expect(JSON.stringify(iamPolicy("jacs", "my-jacs-bucket"))).toContain("arn:aws:s3:::my-jacs-bucket/*")
})
