/**
 * One measurement over S3: `s3.ts FOLDER VERB CLIENT SIZE TARGET`, TARGET as JSON. Prints one JSON line.
 *
 * `save` sends SIZE bytes from a stream, in parts of 8 MiB with four in flight; `load` reads as many; `put` and `get`
 * move SIZE objects of 4 KiB, 32 in flight. Every client has the same source and the same settings. Where one leaves
 * cutting and ordering of parts to its caller, the caller is the same short program for all of these.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import process from "node:process"
import { Readable } from "node:stream"
import { drain, many, small, smallInFlight, sourceOf } from "./work.ts"
import { bareClient, type Target } from "./s3-client.ts"

const [verb, client, size, json] = process.argv.slice(3) as [Verb, string, string, string]
const target = JSON.parse(json) as Target
const { endpoint, bucket, region, accessKeyId, secretAccessKey } = target
const credentials = { accessKeyId, secretAccessKey }
const total = Number(size)

type Verb = "save" | "load" | "put" | "get"
const partSize = 8 * 2 ** 20
const partsInFlight = 4
/** Where the object is. The sink reads its size from it. */
const large = `${total}/snapshot`
const smallKey = (i: number): string => `${small.length}/${i}`

/** A save by someone who is given single requests: buffers that are used again, filled in order, sent side by side. */
const inParts = async (
  begin: () => Promise<string>,
  part: (upload: string, number: number, bytes: Uint8Array<ArrayBuffer>) => Promise<string>,
  complete: (upload: string, etags: ReadonlyArray<string>) => Promise<unknown>,
): Promise<void> => {
  const upload = await begin()
  const free = Array.from({ length: partsInFlight + 1 }, () => new Uint8Array(partSize))
  const etags: Array<string> = []
  const sending = new Set<Promise<void>>()
  const dispatch = async (buffer: Uint8Array<ArrayBuffer>, filled: number): Promise<void> => {
    while (sending.size >= partsInFlight) await Promise.race(sending)
    const number = etags.push("")
    const sent: Promise<void> = part(upload, number, buffer.subarray(0, filled)).then((etag) => {
      etags[number - 1] = etag
      free.push(buffer)
      sending.delete(sent)
    })
    sending.add(sent)
  }
  let buffer = free.pop()!
  let filled = 0
  for await (const piece of sourceOf(total)) {
    buffer.set(piece, filled)
    filled += piece.length
    if (filled < partSize) continue
    await dispatch(buffer, filled)
    buffer = free.pop()!
    filled = 0
  }
  if (filled > 0) await dispatch(buffer, filled)
  await Promise.all(sending)
  await complete(upload, etags)
}

/** A load by someone who is given single requests: ranges side by side, counted as they come. */
const inRanges = async (range: (from: number, to: number) => Promise<Response>): Promise<void> => {
  let bytes = 0
  await many(Math.ceil(total / partSize), partsInFlight, async (i) => {
    const response = await range(i * partSize, Math.min(total, (i + 1) * partSize) - 1)
    for await (const piece of response.body!) bytes += piece.length
  })
  if (bytes !== total) throw new Error(`${bytes} of ${total} bytes`)
}

const completion = (etags: ReadonlyArray<string>): string =>
  `<CompleteMultipartUpload>${
    etags.map((etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag}</ETag></Part>`).join("")
  }</CompleteMultipartUpload>`

const uploadIdIn = async (response: Response): Promise<string> =>
  /<UploadId>(.*?)<\/UploadId>/.exec(await response.text())![1]!

/** The answer to a part or an object, read to its end; its etag. */
const etagOf = async (response: Response): Promise<string> => {
  await response.arrayBuffer()
  if (!response.ok) throw new Error(`status ${response.status}`)
  return response.headers.get("etag")!
}

type Work = () => Promise<unknown>
type Client = Readonly<Record<Verb, Work>>

/** By single requests: what a part, an object and a range are sent with. */
const bySingleRequests = (
  send: (
    method: string,
    path: string,
    options?: { readonly query?: string; readonly body?: Uint8Array<ArrayBuffer> | string; readonly range?: string },
  ) => Promise<Response>,
): Client => ({
  save: () =>
    inParts(
      async () => uploadIdIn(await send("POST", large, { query: "uploads=" })),
      async (upload, number, body) =>
        etagOf(await send("PUT", large, { query: `partNumber=${number}&uploadId=${upload}`, body })),
      async (upload, etags) =>
        (await send("POST", large, { query: `uploadId=${upload}`, body: completion(etags) })).text(),
    ),
  load: () => inRanges((from, to) => send("GET", large, { range: `bytes=${from}-${to}` })),
  put: () => many(total, smallInFlight, async (i) => etagOf(await send("PUT", smallKey(i), { body: small }))),
  get: () => many(total, smallInFlight, async (i) => (await send("GET", smallKey(i))).arrayBuffer()),
})

const holdfast = async (digest: "sha256" | undefined): Promise<Client> => {
  const checkout = process.env["HOLDFAST_CHECKOUT"] ?? "../../"
  const { openBackend } = await import(`${checkout}mod.ts`) as typeof import("../../mod.ts")
  const S3 = await import(`${checkout}src/backends/s3/mod.ts`) as typeof import("../../src/backends/s3/mod.ts")
  const store = await openBackend(S3.make(target), { compression: "none" })
  return {
    save: () => store.save(large, sourceOf(total), { digest }),
    load: async () => drain((await store.load(large)).body, total),
    put: () => many(total, smallInFlight, (i) => store.save(smallKey(i), small)),
    get: () => many(total, smallInFlight, async (i) => (await store.load(smallKey(i))).bytes()),
  }
}

const clients: Readonly<Record<string, () => Promise<Client>>> = {
  holdfast: () => holdfast(undefined),
  "holdfast-sha256": () => holdfast("sha256"),
  bare: () => Promise.resolve(bySingleRequests(bareClient(target))),
  bun: () => {
    const s3 = new Bun.S3Client({ endpoint, bucket, region, ...credentials })
    return Promise.resolve({
      save: async () => {
        const writer = s3.file(large).writer({ partSize, queueSize: partsInFlight })
        for await (const piece of sourceOf(total)) await writer.write(piece)
        await writer.end()
      },
      load: () => drain(s3.file(large).stream(), total),
      put: () => many(total, smallInFlight, (i) => s3.write(smallKey(i), small)),
      get: () => many(total, smallInFlight, (i) => s3.file(smallKey(i)).bytes()),
    })
  },
  aws: async () => {
    const { S3, GetObjectCommand, PutObjectCommand } = await import("@aws-sdk/client-s3")
    const { Upload } = await import("@aws-sdk/lib-storage")
    const s3 = new S3({ endpoint, region, forcePathStyle: true, credentials })
    const get = async (Key: string) => (await s3.send(new GetObjectCommand({ Bucket: bucket, Key }))).Body!
    return {
      save: () => {
        const Body = Readable.fromWeb(sourceOf(total) as unknown as import("node:stream/web").ReadableStream)
        const params = { Bucket: bucket, Key: large, Body }
        return new Upload({ client: s3, params, partSize, queueSize: partsInFlight }).done()
      },
      load: async () => drain((await get(large)) as AsyncIterable<Uint8Array>, total),
      put: () =>
        many(
          total,
          smallInFlight,
          (i) => s3.send(new PutObjectCommand({ Bucket: bucket, Key: smallKey(i), Body: small })),
        ),
      get: () => many(total, smallInFlight, async (i) => (await get(smallKey(i))).transformToByteArray()),
    }
  },
  s3mini: async () => {
    const { S3mini } = await import("s3mini")
    const s3 = new S3mini({ endpoint: `${endpoint}/${bucket}`, region, ...credentials })
    return {
      save: () =>
        inParts(
          () => s3.getMultipartUploadId(large),
          async (upload, number, bytes) => (await s3.uploadPart(large, upload, bytes, number)).etag,
          (upload, etags) =>
            s3.completeMultipartUpload(large, upload, etags.map((etag, i) => ({ partNumber: i + 1, etag }))),
        ),
      load: () => inRanges((from, to) => s3.getObjectRaw(large, false, from, to + 1)),
      put: () => many(total, smallInFlight, (i) => s3.putObject(smallKey(i), small)),
      get: () => many(total, smallInFlight, (i) => s3.getObjectArrayBuffer(smallKey(i))),
    }
  },
  aws4fetch: async () => {
    const { AwsClient } = await import("aws4fetch")
    const signer = new AwsClient({ ...credentials, service: "s3", region })
    return bySingleRequests(async (method, path, { query = "", body, range } = {}) => {
      const response = await signer.fetch(`${endpoint}/${bucket}/${path}?${query}`, {
        method,
        ...(body === undefined ? {} : { body }),
        headers: range === undefined ? {} : { range },
      })
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`)
      return response
    })
  },
}

const work = (await clients[client]!())[verb]
const before = process.cpuUsage()
const start = performance.now()
await work()
const ms = performance.now() - start
const { user, system } = process.cpuUsage(before)
const high = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))
console.log(JSON.stringify({ ms, work: total, peak: Number(high![1]) * 1024, cpu: (user + system) / 1e6 }))
process.exit(0)
