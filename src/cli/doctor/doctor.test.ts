import { expect, test } from "bun:test"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { makeS3Peer, peerCredentials, type PeerRule, type S3Peer, type S3PeerOptions } from "../../testing/s3/mod.ts"
import { openBench } from "./bench.ts"
import type { Purpose } from "./check.ts"
import { checks, examine } from "./checks.ts"
import type { Finding } from "./finding.ts"
import { policyFor } from "./policy.ts"

/** Findings by the names of their checks. */
type Findings = Readonly<Record<string, Finding>>

const keys = {
  S3_ACCESS_KEY_ID: peerCredentials.accessKeyId,
  S3_SECRET_ACCESS_KEY: peerCredentials.secretAccessKey,
}

const examineUrl = async (url: string, purpose: Purpose, env: Record<string, string> = keys): Promise<Findings> => {
  const reports = await Effect.runPromise(Effect.scoped(
    Effect.flatMap(openBench(url, env), (bench) => Stream.runCollect(examine(bench, purpose))),
  ))
  return Object.fromEntries(reports.map(({ name, finding }) => [name, finding]))
}

interface Scene {
  readonly findings: Findings
  readonly peer: S3Peer
}

interface Setting extends S3PeerOptions {
  /** Further options of the URL. */
  readonly more?: string
  readonly bucket?: string
  readonly purpose?: Purpose
  readonly versioned?: boolean
  /** Milliseconds that the service's clock is ahead. */
  readonly ahead?: number
}

/** Examines the bucket of a peer. */
const onPeer = async (setting: Setting = {}): Promise<Scene> => {
  const { more = "&profile=aws", bucket = "test/pre", purpose = "all", versioned = false, ahead = 0, ...options } =
    setting
  const peer = makeS3Peer({ seed: 1, anonymous: versioned, ...options })
  await using server = await peer.listen()
  if (versioned) {
    const body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    await peer.fetch(`${server.url}/test?versioning`, { method: "PUT", body })
  }
  peer.moveClock(ahead)
  const findings = await examineUrl(`s3://${bucket}?endpoint=${server.url}&region=us-east-1${more}`, purpose)
  return { findings, peer }
}

/** The names of the checks that failed, with the reasons. */
const failures = (findings: Findings): Record<string, string> =>
  Object.fromEntries(
    Object.entries(findings).flatMap(([name, finding]) =>
      finding.status === "FAIL" ? [[name, finding.error.reason]] : []
    ),
  )

const statuses = (findings: Findings, status: Finding["status"]): ReadonlyArray<string> =>
  Object.keys(findings).filter((name) => findings[name]!.status === status)

const denied = (operation: PeerRule["operation"], more: Omit<PeerRule, "fault" | "operation"> = {}): PeerRule => ({
  operation,
  fault: { kind: "error", status: 403, code: "AccessDenied" },
  ...more,
})

test("doctor finds nothing wrong with Amazon's own rules, and leaves nothing behind", async () => {
  const { findings, peer } = await onPeer({ versioned: true })
  expect(failures(findings)).toEqual({})
  expect(Object.keys(findings)).toEqual([
    ...checks.filter(({ where }) => where !== "disk").map(({ name }) => name),
    "clean up",
  ])
  expect(statuses(findings, "n/a")).toEqual(["encryption"])
  expect(findings["versions"]?.detail).toBe("kept")
  expect(findings["credentials"]?.detail).toBe("the key AKIA… from the environment (S3_ACCESS_KEY_ID)")
  const { accessKeyId, secretAccessKey } = peerCredentials
  for (const secret of [accessKeyId, secretAccessKey]) expect(JSON.stringify(findings)).not.toContain(secret)
  expect(peer.openUploads()).toEqual([])
  const left = await peer.fetch("http://127.0.0.1/test?versions")
  expect(await left.text()).not.toMatch(/<Version>|<DeleteMarker>/)
  // What it made was below the prefix and under one name.
  const outside = peer.requests.filter(({ key }) => key !== "" && !/^pre\/\.holdfast-doctor-[0-9a-f-]+\//.test(key))
  expect(outside).toEqual([])
})

test("doctor --for read changes nothing", async () => {
  const { findings, peer } = await onPeer({ purpose: "read" })
  expect(failures(findings)).toEqual({})
  expect(Object.keys(findings)).toEqual([
    "service",
    "credentials",
    "clock",
    "list",
    "stat",
    "load",
    "presign",
    "clean up",
  ])
  expect(peer.requests.filter(({ method }) => method !== "GET" && method !== "HEAD")).toEqual([])
})

test("doctor tells what a service ignores, and which profile fits", async () => {
  const asAmazon = await onPeer({ quirks: "ceph16" })
  expect(failures(asAmazon.findings)).toEqual({
    "save if match": "Config",
    "upload if none": "Conflict",
    "copy if none": "Conflict",
    "remove if match": "Conflict",
    "checksum": "Corrupt",
    "profile": "Config",
  })
  expect(asAmazon.findings["profile"]?.hint).toContain("profile=ceph")
  const asItself = await onPeer({ quirks: "ceph16", more: "&profile=ceph" })
  expect(failures(asItself.findings)).toEqual({})
  expect(asItself.findings["profile"]?.hint).toBeUndefined()
  const asAny = await onPeer({ quirks: "ceph16", more: "" })
  expect(failures(asAny.findings)).toEqual({})
  expect(asAny.findings["profile"]?.hint).toContain("profile=ceph")
})

test("doctor finds that parts must be equal", async () => {
  const { findings } = await onPeer({ quirks: "r2", more: "" })
  expect(failures(findings)).toEqual({ "parts of any size": "Config", "profile": "Config" })
  expect(findings["profile"]?.hint).toContain("profile=r2")
})

test("doctor finds that nothing holds where nothing is checked", async () => {
  const { findings } = await onPeer({ quirks: "generic", more: "" })
  expect(failures(findings)).toEqual({})
  expect(findings["save if none"]).toMatchObject({ status: "n/a" })
  expect(findings["save if none"]?.detail).toContain("8 of 8")
  expect(findings["checksum"]?.status).toBe("ok")
})

test("doctor says that conditions are refused where versions are kept and the service then ignores them", async () => {
  const { findings } = await onPeer({ quirks: "ceph16", more: "&profile=ceph", versioned: true })
  for (const name of ["save if none", "save if match"]) {
    expect(findings[name]).toMatchObject({ status: "n/a" })
    expect(findings[name]?.detail).toContain("the store refuses such a call")
  }
  expect(failures(findings)).toEqual({})
})

test("doctor says which permission is missing, and what it could not remove", async () => {
  const { findings } = await onPeer({ rules: [denied(["DeleteObject", "DeleteObjects"])] })
  expect(failures(findings)).toMatchObject({ "remove": "Forbidden", "clean up": "Forbidden" })
  expect(findings["clean up"]?.hint).toMatch(/holdfast rm --recursive \.holdfast-doctor-/)
  const upload = await onPeer({ rules: [denied("UploadPart")] })
  expect(Object.keys(failures(upload.findings))).toEqual([
    "upload in parts",
    "least part",
    "parts of any size",
    "upload if none",
  ])
  expect(upload.peer.openUploads()).toEqual([])
})

test("doctor stops where the rest makes no sense", async () => {
  const stranger = await onPeer({ credentials: [{ ...peerCredentials, secretAccessKey: "another" }] })
  expect(failures(stranger.findings)).toEqual({ credentials: "Unauthorized" })
  expect(stranger.findings["save"]?.detail).toContain("not tried")
  const gone = await onPeer({ bucket: "gone" })
  expect(failures(gone.findings)).toEqual({ service: "Config" })
  expect(gone.findings["service"]?.detail).toContain('bucket "gone" not found')
  const closed = await makeS3Peer().listen()
  await closed.close()
  const nobody = await examineUrl(`s3://test?endpoint=${closed.url}&region=us-east-1`, "write")
  expect(failures(nobody)).toEqual({ service: "Unavailable" })
  expect(nobody["service"]?.detail).toContain("network")
})

test("doctor says in which region the bucket is", async () => {
  const elsewhere: PeerRule = { fault: { kind: "headers", set: { "x-amz-bucket-region": "eu-west-1" } } }
  const { findings } = await onPeer({ rules: [elsewhere], purpose: "read" })
  expect(findings["service"]).toMatchObject({
    status: "ok",
    detail: "answers; the bucket is in eu-west-1",
    hint: "write region=eu-west-1 in the URL instead of us-east-1",
  })
})

test("doctor compares the clocks, and goes on with the right time", async () => {
  const late = await onPeer({ ahead: 3_600_000 })
  expect(failures(late.findings)).toEqual({ clock: "Config" })
  expect(late.findings["clock"]?.detail).toMatch(/3[56]\d\d s behind/)
  const early = await onPeer({ ahead: -120_000, purpose: "read" })
  expect(early.findings["clock"]).toMatchObject({ status: "ok", hint: expect.stringContaining("set the clock") })
})

test("doctor notices lists that lag, and objects that come back changed", async () => {
  const empty: PeerRule = {
    operation: "ListObjectsV2",
    fault: {
      kind: "rewrite",
      reply: (reply) => {
        const text = new TextDecoder().decode(reply.body).replaceAll(/<Contents>.*?<\/Contents>/gs, "")
        return { ...reply, body: new TextEncoder().encode(text) }
      },
    },
  }
  expect(failures((await onPeer({ rules: [empty] })).findings)).toEqual({ "list after save": "Conflict" })
  const flip: PeerRule = { operation: "GetObject", key: "/object", fault: { kind: "flip", at: 3 } }
  expect(failures((await onPeer({ rules: [flip] })).findings)["load"]).toBe("Corrupt")
})

test("doctor sees whether encryption that is asked for is confirmed", async () => {
  const { findings } = await onPeer({ more: "&profile=aws&encryption=sse-kms&kmsKeyId=key-1", kmsKeys: ["key-1"] })
  expect(findings["encryption"]).toMatchObject({ status: "ok", detail: "confirmed: sse-kms key-1" })
  const wrong = await onPeer({ more: "&profile=aws&encryption=sse-kms&kmsKeyId=key-2", kmsKeys: ["key-1"] })
  expect(failures(wrong.findings)).toMatchObject({ save: "Config" })
})

test("doctor examines a folder: file system, room, modes, and the same contract", async () => {
  const root = await mkdtemp(join(tmpdir(), "holdfast-doctor-"))
  try {
    const findings = await examineUrl(`file:${root}/data`, "all")
    expect(failures(findings)).toEqual({})
    expect(findings["free space"]?.detail).toMatch(/\d [KMGT]?i?B$/)
    expect(findings["modes"]?.detail).toContain("made by the first save")
    expect(findings["save"]?.detail).toContain("flushed to the disk")
    expect(findings["save if match"]?.detail).toBe("1 of 8 writers at once won")
    expect(findings["service"]).toBeUndefined()
    const again = await examineUrl(`file:${root}/data`, "read")
    expect(again["stat"]?.status).toBe("n/a")
  } finally {
    await rm(root, { recursive: true, force: true })
  }
  expect(failures(await examineUrl("mem:", "all"))).toEqual({})
})

test("the policy is the least for the purpose, the bucket and the prefix", () => {
  const { Statement: read } = policyFor({ bucket: "b" }, undefined, "read")
  expect(read).toEqual([
    { Effect: "Allow", Action: ["s3:GetObject"], Resource: "arn:aws:s3:::b/*" },
    { Effect: "Allow", Action: ["s3:ListBucket"], Resource: "arn:aws:s3:::b" },
  ])
  const key = "arn:aws-cn:kms:cn-north-1:1:key/2"
  const { Statement: write } = policyFor(
    { bucket: "b", prefix: "p", region: "cn-north-1" },
    { type: "sse-kms", keyId: key },
    "write",
  )
  expect(write.map(({ Resource }) => Resource)).toEqual([
    "arn:aws-cn:s3:::b/p/*",
    "arn:aws-cn:s3:::b",
    "arn:aws-cn:s3:::b",
    key,
  ])
  expect(write[1]?.Condition).toEqual({ StringLike: { "s3:prefix": ["p/*"] } })
  expect(write[0]?.Action).not.toContain("s3:DeleteObjectVersion")
  expect(policyFor({ bucket: "b" }, undefined, "all").Statement[0]?.Action).toContain("s3:DeleteObjectVersion")
})
