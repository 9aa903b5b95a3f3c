/** Amazon's own client against a server of the peer: what it sends is served, and what it gets back it understands. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketLocationCommand,
  GetBucketVersioningCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  ListPartsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3"
import { expect, test } from "bun:test"
import { Readable } from "node:stream"
import { sdkFor } from "./client-testing.ts"
import { makeS3Peer, peerCredentials, type PeerServer, type S3Peer, type S3PeerOptions } from "./mod.ts"

interface Scene {
  readonly peer: S3Peer
  readonly server: PeerServer
  readonly client: S3Client
}

const withServer = async (run: (scene: Scene) => Promise<void>, options: S3PeerOptions = {}): Promise<void> => {
  const peer = makeS3Peer({ seed: 1, minPartSize: 4, ...options })
  await using server = await peer.listen()
  const client = sdkFor(server.url)
  try {
    await run({ peer, server, client })
  } finally {
    client.destroy()
  }
}

const Bucket = "test"

test("sdk: buckets", () =>
  withServer(async ({ client }) => {
    await client.send(new CreateBucketCommand({ Bucket: "other" }))
    expect((await client.send(new ListBucketsCommand({}))).Buckets?.map((one) => one.Name)).toEqual(["test", "other"])
    expect((await client.send(new HeadBucketCommand({ Bucket }))).BucketRegion).toBe("us-east-1")
    expect((await client.send(new GetBucketLocationCommand({ Bucket }))).LocationConstraint ?? "").toBe("")
    await client.send(new DeleteBucketCommand({ Bucket: "other" }))
    await expect(client.send(new HeadBucketCommand({ Bucket: "other" }))).rejects.toMatchObject({ name: "NotFound" })
  }))

test("sdk: an object with all that belongs to it", () =>
  withServer(async ({ client }) => {
    const Key = "a b/ü+%?#.txt"
    const put = await client.send(
      new PutObjectCommand({
        Bucket,
        Key,
        Body: "hello",
        ContentType: "text/plain",
        CacheControl: "no-store",
        Metadata: { "write-id": "w1" },
        Tagging: "a=1&b=%C3%BC",
        StorageClass: "STANDARD_IA",
        ChecksumAlgorithm: "SHA256",
      }),
    )
    expect(put.ETag).toBe('"5d41402abc4b2a76b9719d911017c592"')
    expect(put.ChecksumSHA256).toBe("LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=")
    const got = await client.send(new GetObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }))
    expect(await got.Body?.transformToString()).toBe("hello")
    expect([got.ContentType, got.CacheControl, got.Metadata?.["write-id"], got.TagCount, got.StorageClass])
      .toEqual(["text/plain", "no-store", "w1", 2, "STANDARD_IA"])
    const head = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }))
    expect([head.ContentLength, head.ChecksumSHA256]).toEqual([5, put.ChecksumSHA256!])
    const tags = await client.send(new GetObjectTaggingCommand({ Bucket, Key }))
    expect(tags.TagSet).toEqual([{ Key: "a", Value: "1" }, { Key: "b", Value: "ü" }])
    const range = await client.send(new GetObjectCommand({ Bucket, Key, Range: "bytes=-2" }))
    expect([await range.Body?.transformToString(), range.ContentRange]).toEqual(["lo", "bytes 3-4/5"])
    await client.send(new DeleteObjectCommand({ Bucket, Key }))
    await expect(client.send(new GetObjectCommand({ Bucket, Key }))).rejects.toMatchObject({ name: "NoSuchKey" })
    await expect(client.send(new HeadObjectCommand({ Bucket, Key }))).rejects.toMatchObject({ name: "NotFound" })
  }))

test("sdk: bodies in chunks with a trailer, as it sends streams", () =>
  withServer(async ({ peer, client }) => {
    for (const algorithm of ["CRC32", "CRC32C", "SHA1", "SHA256"] as const) {
      const put = await client.send(
        new PutObjectCommand({
          Bucket,
          Key: algorithm,
          Body: Readable.from([new Uint8Array(100_000).fill(1), new Uint8Array(1).fill(2)]),
          ContentLength: 100_001,
          ChecksumAlgorithm: algorithm,
        }),
      )
      expect(put[`Checksum${algorithm}`]).toBeDefined()
      expect(peer.object(Bucket, algorithm)?.bytes.length).toBe(100_001)
    }
    expect(new Set(peer.requests.map(({ headers }) => headers.find(([name]) => name === "x-amz-content-sha256")?.[1])))
      .toEqual(new Set(["STREAMING-UNSIGNED-PAYLOAD-TRAILER"]))
  }))

test("sdk: copies", () =>
  withServer(async ({ peer, client }) => {
    await client.send(new PutObjectCommand({ Bucket, Key: "ä/1", Body: "hello", Metadata: { a: "1" } }))
    const CopySource = `${Bucket}/${encodeURIComponent("ä/1")}`
    const copied = await client.send(new CopyObjectCommand({ Bucket, Key: "2", CopySource }))
    expect(copied.CopyObjectResult?.ETag).toBe('"5d41402abc4b2a76b9719d911017c592"')
    expect(peer.object(Bucket, "2")?.metadata).toEqual({ a: "1" })
    await client.send(
      new CopyObjectCommand({ Bucket, Key: "2", CopySource, MetadataDirective: "REPLACE", Metadata: { b: "2" } }),
    )
    expect(peer.object(Bucket, "2")?.metadata).toEqual({ b: "2" })
  }))

test("sdk: an upload in parts, one of them a copy", () =>
  withServer(async ({ peer, client }) => {
    await client.send(new PutObjectCommand({ Bucket, Key: "source", Body: "0123456789" }))
    const { UploadId } = await client.send(
      new CreateMultipartUploadCommand({ Bucket, Key: "big", ChecksumAlgorithm: "CRC32", ChecksumType: "FULL_OBJECT" }),
    )
    const upload = { Bucket, Key: "big", UploadId: UploadId! }
    const one = await client.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: "hello " }))
    const two = await client.send(
      new UploadPartCopyCommand({ ...upload, PartNumber: 2, CopySource: "test/source", CopySourceRange: "bytes=2-5" }),
    )
    expect(peer.openUploads()).toEqual([{ bucket: Bucket, key: "big", uploadId: UploadId!, parts: [1, 2] }])
    const listed = await client.send(new ListMultipartUploadsCommand({ Bucket }))
    expect(listed.Uploads?.map((each) => [each.Key, each.UploadId])).toEqual([["big", UploadId]])
    const parts = await client.send(new ListPartsCommand(upload))
    expect(parts.Parts?.map((part) => [part.PartNumber, part.Size])).toEqual([[1, 6], [2, 4]])
    const done = await client.send(
      new CompleteMultipartUploadCommand({
        ...upload,
        MpuObjectSize: 10,
        MultipartUpload: {
          Parts: [
            { PartNumber: 1, ETag: one.ETag, ChecksumCRC32: one.ChecksumCRC32 },
            { PartNumber: 2, ETag: two.CopyPartResult?.ETag },
          ],
        },
      }),
    )
    expect(done.ETag).toMatch(/^"[0-9a-f]{32}-2"$/)
    expect(done.ChecksumType).toBe("FULL_OBJECT")
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "big" }))
    expect(await got.Body?.transformToString()).toBe("hello 2345")
    const attributes = await client.send(
      new GetObjectAttributesCommand({ Bucket, Key: "big", ObjectAttributes: ["ETag", "ObjectParts", "ObjectSize"] }),
    )
    expect([attributes.ETag, attributes.ObjectSize, attributes.ObjectParts?.TotalPartsCount])
      .toEqual([done.ETag!.replaceAll('"', ""), 10, 2])
    const part = await client.send(new GetObjectCommand({ Bucket, Key: "big", PartNumber: 2 }))
    expect([await part.Body?.transformToString(), part.PartsCount]).toEqual(["2345", 2])
    expect(peer.openUploads()).toEqual([])
  }))

test("sdk: an upload that is aborted", () =>
  withServer(async ({ peer, client }) => {
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key: "a" }))
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key: "a", UploadId: UploadId! }))
    expect(peer.openUploads()).toEqual([])
    await expect(
      client.send(new UploadPartCommand({ Bucket, Key: "a", UploadId: UploadId!, PartNumber: 1, Body: "x" })),
    )
      .rejects.toMatchObject({ name: "NoSuchUpload" })
  }))

test("sdk: lists, page by page", () =>
  withServer(async ({ client }) => {
    const keys = ["a/1", "a/2", "b", "c/1", "d & é"]
    for (const Key of keys) await client.send(new PutObjectCommand({ Bucket, Key, Body: Key }))
    const seen: Array<string> = []
    let ContinuationToken: string | undefined
    do {
      const page = await client.send(
        new ListObjectsV2Command({
          Bucket,
          MaxKeys: 2,
          Delimiter: "/",
          ...(ContinuationToken && { ContinuationToken }),
        }),
      )
      seen.push(
        ...(page.Contents ?? []).map((one) => one.Key!),
        ...(page.CommonPrefixes ?? []).map((one) => one.Prefix!),
      )
      ContinuationToken = page.NextContinuationToken
    } while (ContinuationToken !== undefined)
    expect(seen.toSorted()).toEqual(["a/", "b", "c/", "d & é"])
    const first = await client.send(new ListObjectsCommand({ Bucket, MaxKeys: 1, Delimiter: "/" }))
    expect([first.CommonPrefixes?.[0]?.Prefix, first.NextMarker]).toEqual(["a/", "a/"])
    const second = await client.send(new ListObjectsCommand({ Bucket, Marker: "a/", Delimiter: "/" }))
    expect(second.Contents?.map((one) => one.Key)).toEqual(["b", "d & é"])
    const deleted = await client.send(
      new DeleteObjectsCommand({ Bucket, Delete: { Objects: [...keys, "none"].map((Key) => ({ Key })) } }),
    )
    expect(deleted.Deleted?.map((one) => one.Key)).toEqual([...keys, "none"])
    expect((await client.send(new ListObjectsV2Command({ Bucket }))).KeyCount).toBe(0)
  }))

test("sdk: versions", () =>
  withServer(async ({ client }) => {
    await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: "Enabled" } }))
    expect((await client.send(new GetBucketVersioningCommand({ Bucket }))).Status).toBe("Enabled")
    const put = async (Body: string) => (await client.send(new PutObjectCommand({ Bucket, Key: "k", Body }))).VersionId!
    const ids = [await put("one"), await put("two")]
    const removed = await client.send(new DeleteObjectCommand({ Bucket, Key: "k" }))
    expect(removed.DeleteMarker).toBe(true)
    const listed = await client.send(new ListObjectVersionsCommand({ Bucket }))
    expect(listed.Versions?.map((one) => one.VersionId)).toEqual(ids.toReversed())
    expect(listed.DeleteMarkers?.map((one) => [one.VersionId, one.IsLatest])).toEqual([[removed.VersionId!, true]])
    const old = await client.send(new GetObjectCommand({ Bucket, Key: "k", VersionId: ids[0]! }))
    expect(await old.Body?.transformToString()).toBe("one")
    await client.send(new DeleteObjectCommand({ Bucket, Key: "k", VersionId: removed.VersionId! }))
    expect(await (await client.send(new GetObjectCommand({ Bucket, Key: "k" }))).Body?.transformToString()).toBe("two")
  }))

test("sdk: it refuses what the peer says is another body", () =>
  withServer(async ({ peer, client }) => {
    await client.send(new PutObjectCommand({ Bucket, Key: "k", Body: "hello" }))
    peer.script([{ operation: "GetObject", fault: { kind: "flip", at: 1 } }])
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "k" }))
    await expect(got.Body!.transformToString()).rejects.toThrow(/checksum/i)
  }))

test("sdk: it tries again what the script lets fail once", () =>
  withServer(async ({ peer, server }) => {
    const client = sdkFor(server.url, { maxAttempts: 3 })
    peer.script([
      { operation: "PutObject", nth: 1, fault: { kind: "error", status: 503, code: "SlowDown" } },
      { operation: "PutObject", nth: 2, fault: { kind: "drop", when: "after" } },
    ])
    await client.send(new PutObjectCommand({ Bucket, Key: "k", Body: "hello" }))
    expect(peer.count("PutObject")).toBe(3)
    expect(peer.amplification()).toBe(3)
    client.destroy()
  }))

test("sdk: a wrong secret is told so, and a skewed clock is learnt", () =>
  withServer(async ({ peer, server }) => {
    const wrong = sdkFor(server.url, { credentials: { ...peerCredentials, secretAccessKey: "no" } })
    await expect(wrong.send(new ListBucketsCommand({}))).rejects.toMatchObject({ name: "SignatureDoesNotMatch" })
    wrong.destroy()
    peer.moveClock(3_600_000)
    const client = sdkFor(server.url, { maxAttempts: 2 })
    expect((await client.send(new ListBucketsCommand({}))).Buckets?.length).toBe(1)
    client.destroy()
  }))
