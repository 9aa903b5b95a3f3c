/** What JACS' page promises of HAI: a registry of agents, sharing between organizations, records in DNS. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { allows, makeToken, parseRule, ruleOf } from "../cli/serve/tokens.ts"
import { StoreError } from "../error.ts"
import { storeRoutes } from "../http/mod.ts"
import { listen } from "../http/testing.ts"
import { open } from "../open.ts"
import { keysOf, makeMemory, openOn, reasonOf } from "../stores/document-helpers-testing.ts"
import {
  type Document,
  DocumentStore,
  type Ed25519Keys,
  generateEd25519Keys,
  makeEd25519Signer,
  publicKeyHash,
  type Signer,
} from "../stores/documents.ts"
import { documentSha256, toBase64 } from "../stores/document-signature.ts"
import type { Store } from "../store.ts"
import { haiKeyLookup } from "./hai-endpoint.ts"
import * as jacs from "./jacs.ts"
import {
  type AgentDnsOutcome,
  agentDnsRecord,
  type AgentKey,
  type AgentKeys,
  AgentRegistry,
  checkAgentDns,
  chooseBackend,
  JacsAgent,
  makeAgentVerifier,
  makeHaiKeys,
  type ResolveTxt,
  serveAgentKeys,
} from "./jacs.ts"

/** An agent with keys of its own, as its owner makes it; `version` is which of its versions this is. */
interface Party {
  readonly keys: Ed25519Keys
  readonly signer: Signer
  readonly agent: Document
}

const makeParty = async (given: { id?: string; keys?: Ed25519Keys; after?: Document } = {}): Promise<Party> => {
  const keys = given.keys ?? await generateEd25519Keys()
  const [jacsId, jacsVersion] = [given.id ?? given.after?.jacsId ?? crypto.randomUUID(), crypto.randomUUID()]
  const before = given.after
  const date = new Date(before === undefined ? 0 : Date.parse(before.jacsVersionDate) + 1).toISOString()
  const header = {
    jacsId,
    jacsVersion,
    jacsVersionDate: date,
    jacsOriginalVersion: before?.jacsOriginalVersion ?? jacsVersion,
    jacsOriginalDate: before?.jacsOriginalDate ?? date,
    ...(before === undefined ? {} : { jacsPreviousVersion: before.jacsVersion }),
  }
  const signer = await makeEd25519Signer({ ...keys, agentId: jacsId, agentVersion: jacsVersion })
  await using nowhere = await open("mem:")
  const agent = await new DocumentStore(nowhere, { signer }).agents.create(
    { ...header, jacsAgentType: "ai", name: "A", own: { kept: true } },
    { save: false },
  )
  return { keys, signer, agent }
}

/** A document by a party, stored nowhere. */
const signedBy = async (
  { signer }: Party,
  content: Record<string, unknown> = { title: "Offer" },
): Promise<Document> => {
  await using nowhere = await open("mem:")
  return await new DocumentStore(nowhere, { signer }).create(content, { save: false })
}

const stateOf = async (document: Document, ...sources: ReadonlyArray<AgentKeys>): Promise<string> => {
  await using nowhere = await open("mem:")
  const documents = new DocumentStore(nowhere, { verifier: makeAgentVerifier(...sources) })
  return (await documents.verify(document)).signature
}

// 92: the registry

test("row 92: an agent is registered, and its key found by id and version and of the newest", async () => {
  const memory = await makeMemory()
  await using store = await openOn(memory)
  await using sameStore = await openOn(memory)
  const registry = new AgentRegistry(store)
  const first = await makeParty()
  const { jacsId: id, jacsVersion: version } = first.agent
  await registry.register(first.agent, first.keys.publicKey)
  expect(await keysOf(store)).toEqual([`agents/${id}/${version}.json`, `public_keys/${first.signer.publicKeyHash}.pem`])
  expect(await (await store.load(`agents/${id}/${version}.json`)).json<Document>()).toEqual(first.agent)

  const known: AgentKey = {
    agentId: id,
    version,
    publicKey: first.keys.publicKey,
    publicKeyHash: first.signer.publicKeyHash,
    algorithm: "ring-Ed25519",
  }
  // Another instance on the same place.
  const elsewhere = new AgentRegistry(sameStore)
  expect(await elsewhere.publicKeyOf(id, version)).toEqual(known)
  expect(await elsewhere.publicKeyOf(id)).toEqual(known)
  expect(await elsewhere.getLatest(id)).toEqual(first.agent)

  const second = await makeParty({ keys: first.keys, after: first.agent })
  await registry.register(JSON.stringify(second.agent), second.keys.publicKey)
  expect(await elsewhere.getLatest(id)).toEqual(second.agent)
  expect(await elsewhere.get(id, version)).toEqual(first.agent)
  expect(await elsewhere.publicKeyOf(id, "latest")).toEqual({ ...known, version: second.agent.jacsVersion })
  expect(await elsewhere.publicKeyOf(id, version)).toEqual(known)

  // Once more changes nothing.
  const before = await keysOf(store)
  await registry.register(second.agent, second.keys.publicKey)
  expect(await keysOf(store)).toEqual(before)
})

test("row 92: whoever is not known, has no key, or has an impossible id is told so", async () => {
  await using store = await open("mem:")
  const registry = new AgentRegistry(store)
  const party = await makeParty()
  const { jacsId: id, jacsVersion: version } = party.agent
  expect(await reasonOf(registry.publicKeyOf(id))).toBe("NotFound")
  expect(await reasonOf(registry.getLatest(id))).toBe("NotFound")
  await new DocumentStore(store).agents.add(party.agent)
  expect(await reasonOf(registry.publicKeyOf(id, version))).toBe("NotFound")
  await registry.register(party.agent, party.keys.publicKey)
  expect(await reasonOf(registry.publicKeyOf(id, crypto.randomUUID()))).toBe("NotFound")
  for (const bad of ["..", "a/b", "a\0", "a:b", "", "x".repeat(1025)]) {
    expect([bad, await reasonOf(registry.publicKeyOf(bad)), await reasonOf(registry.get(bad, version))])
      .toEqual([bad, "InvalidKey", "InvalidKey"])
  }
  // A key that lies under another's name.
  await store.save(`public_keys/${party.signer.publicKeyHash}.pem`, (await generateEd25519Keys()).publicKey)
  expect(await reasonOf(registry.publicKeyOf(id, version))).toBe("Corrupt")
})

test("row 92: nobody registers for another, nor with a key that is not theirs", async () => {
  await using store = await open("mem:")
  const registry = new AgentRegistry(store)
  const [a, b] = [await makeParty(), await makeParty()]
  const { jacsSha256: _, jacsSignature: __, ...bare } = a.agent
  const unsigned = { ...bare, jacsSha256: await documentSha256(bare) } as Document
  const touched = { ...a.agent, name: "B" }
  const sealedAgain = { ...touched, jacsSha256: await documentSha256(touched) }
  // B's signer signs A's document, in B's name.
  const named = await new DocumentStore(store, { signer: b.signer }).agents.create(bare, { save: false })
  const key = a.keys.publicKey
  expect(await reasonOf(registry.register(a.agent, b.keys.publicKey))).toBe("InvalidInput")
  expect(await reasonOf(registry.register(unsigned, key))).toBe("InvalidInput")
  expect(await reasonOf(registry.register(touched, key))).toBe("Corrupt")
  expect(await reasonOf(registry.register(sealedAgain, key))).toBe("Corrupt")
  expect(await reasonOf(registry.register(named, b.keys.publicKey))).toBe("InvalidInput")
  expect(await reasonOf(registry.register("{", key))).toBe("InvalidInput")
  expect(await keysOf(store)).toEqual([])
})

test("row 92: an id is of whoever has registered it, until its owner's new key is let in", async () => {
  await using store = await open("mem:")
  const registry = new AgentRegistry(store)
  const owner = await makeParty()
  await registry.register(owner.agent, owner.keys.publicKey)
  const before = await keysOf(store)
  const other = await makeParty({ after: owner.agent })
  expect(await reasonOf(registry.register(other.agent, other.keys.publicKey))).toBe("Conflict")
  expect(await keysOf(store)).toEqual(before)
  await registry.register(other.agent, other.keys.publicKey, { newKey: true })
  const { jacsId: id, jacsVersion: version } = owner.agent
  expect((await registry.publicKeyOf(id)).publicKeyHash).toBe(other.signer.publicKeyHash)
  // What was signed before is still checked with the key of then; and that key registers nothing any more.
  expect((await registry.publicKeyOf(id, version)).publicKeyHash).toBe(owner.signer.publicKeyHash)
  expect(await stateOf(await signedBy(owner), registry)).toBe("valid")
  const late = await makeParty({ keys: owner.keys, after: other.agent })
  expect(await reasonOf(registry.register(late.agent, owner.keys.publicKey))).toBe("Conflict")
})

test("row 92: an agent that JacsAgent has stored needs its key only, and so its documents are verified", async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-hai-"))
  try {
    const env = {
      JACS_DATA_DIRECTORY: join(folder, "jacs_data"),
      JACS_KEY_DIRECTORY: join(folder, "jacs_keys"),
    }
    await using agent = new JacsAgent({ env })
    const self = await agent.load()
    const document = JSON.parse(await agent.createDocument('{"title":"Offer"}')) as Document
    await using store = await open(`file:${env.JACS_DATA_DIRECTORY}`)
    const registry = new AgentRegistry(store)
    expect(await stateOf(document, registry)).toBe("unknown")
    await registry.register(self, new Uint8Array(await readFile(join(folder, "jacs_keys/jacs.public.pem"))))
    expect(await stateOf(document, registry)).toBe("valid")
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test("row 92: on a store without conditions the registry is kept by its only writer", async () => {
  const memory = await makeMemory()
  const capabilities = { ...memory.capabilities, conditional: { ...memory.capabilities.conditional, create: false } }
  await using store = await openOn({ ...memory, capabilities })
  const { agent, keys } = await makeParty()
  expect(await reasonOf(new AgentRegistry(store).register(agent, keys.publicKey))).toBe("Unsupported")
  const registry = new AgentRegistry(store, { soleWriter: true })
  await registry.register(agent, keys.publicKey)
  await registry.register(agent, keys.publicKey)
  expect((await registry.publicKeyOf(agent.jacsId)).publicKey).toEqual(keys.publicKey)
})

test("row 92: the verifier takes the key of the agent that a signature names, and no other", async () => {
  await using store = await open("mem:")
  const registry = new AgentRegistry(store)
  const [a, b] = [await makeParty(), await makeParty()]
  for (const { agent, keys } of [a, b]) await registry.register(agent, keys.publicKey)
  expect(await stateOf(await signedBy(a), registry)).toBe("valid")

  // B is known as well, and signs as A.
  const { jacsId: agentId, jacsVersion: agentVersion } = a.agent
  const asA = { ...a, signer: await makeEd25519Signer({ ...b.keys, agentId, agentVersion }) }
  expect(await reasonOf(stateOf(await signedBy(asA), registry))).toBe("Corrupt")
  const stranger = await signedBy(await makeParty())
  expect(await stateOf(stranger, registry)).toBe("unknown")
  const latest = { ...a, signer: await makeEd25519Signer({ ...a.keys, agentId, agentVersion: "latest" }) }
  expect(await stateOf(await signedBy(latest), registry)).toBe("unknown")
})

test("row 92: a verifier asks its sources in order, keeps what it finds, and relies on active keys only", async () => {
  const party = await makeParty()
  const { jacsId: agentId, jacsVersion: version } = party.agent
  const document = await signedBy(party)
  const asked: Array<string> = []
  const source = (name: string, answer: () => Promise<Partial<AgentKey>>): AgentKeys => ({
    publicKeyOf: async (id, wanted = "latest") => {
      asked.push(`${name} ${id === agentId && wanted === version}`)
      const { publicKey } = party.keys
      const { publicKeyHash } = party.signer
      return { agentId, version, publicKey, publicKeyHash, algorithm: "ed25519", ...await answer() }
    },
  })
  const failing = (reason: StoreError["reason"]) => () =>
    Promise.reject(new StoreError({ reason, detail: "of the test" }))
  const empty = source("empty", failing("NotFound"))
  const full = source("full", () => Promise.resolve({ status: "active" }))
  await using nowhere = await open("mem:")
  const documents = new DocumentStore(nowhere, { verifier: makeAgentVerifier(empty, full) })
  const [one, two] = await Promise.all([documents.verify(document), documents.verify(document)])
  expect([one.signature, two.signature]).toEqual(["valid", "valid"])
  expect((await documents.verify(document)).signature).toBe("valid")
  expect(asked).toEqual(["empty true", "full true"])
  const now = performance.now.bind(performance)
  const after = async (ms: number): Promise<number> => {
    performance.now = () => now() + ms
    try {
      expect((await documents.verify(document)).signature).toBe("valid")
    } finally {
      performance.now = now
    }
    return asked.length
  }
  expect([await after(4 * 60_000), await after(5 * 60_000 + 1)]).toEqual([2, 4])

  expect(await stateOf(document, source("withdrawn", () => Promise.resolve({ status: "revoked" })), full)).toBe(
    "unknown",
  )
  const { jacsSignature } = document
  const check = makeAgentVerifier(source("down", failing("Unavailable")), full)
  expect(await reasonOf(check.verify(jacsSignature!, new Uint8Array(), new Uint8Array()))).toBe("Unavailable")
})

test("row 92: keys of other algorithms that JACS has stored are found, and never one under another's name", async () => {
  await using store = await open("mem:")
  const publicKey = crypto.getRandomValues(new Uint8Array(2592))
  const hash = await publicKeyHash(publicKey)
  const [agentId, agentVersion] = [crypto.randomUUID(), crypto.randomUUID()]
  const sign = () => Promise.resolve(new Uint8Array(4627))
  const signer: Signer = { algorithm: "pq2025", agentId, agentVersion, publicKeyHash: hash, sign }
  const { jacsId } = await new DocumentStore(store, { signer }).agents.create({ name: "A" })
  await store.save(`public_keys/${hash}.pem`, publicKey)
  const registry = new AgentRegistry(store)
  expect(await registry.publicKeyOf(jacsId)).toMatchObject({ publicKey, publicKeyHash: hash, algorithm: "pq2025" })
  await store.save(`public_keys/${hash}.pem`, crypto.getRandomValues(new Uint8Array(2592)))
  const error = await registry.publicKeyOf(jacsId).catch((error: unknown) => error)
  expect(error).toMatchObject({ reason: "Corrupt", key: `public_keys/${hash}.pem` })
})

// 92: HAI's endpoint

const someId = "550e8400-e29b-41d4-a716-446655440000"

type Answers = ReadonlyArray<() => Response | Promise<Response>>

/** Answers each request with the next of some responses, the last one again and again. */
const scripted = (...answers: Answers) => {
  const requests: Array<{ url: string; init: RequestInit }> = []
  const fetch = async (url: string, init: RequestInit): Promise<Response> => {
    requests.push({ url, init })
    return await answers[Math.min(requests.length, answers.length) - 1]!()
  }
  return { fetch, requests }
}

const noRetries = { JACS_KEY_FETCH_RETRIES: "0" }

test("row 92: HAI's endpoint is asked where the variables say, and over https", async () => {
  const publicKey = toBase64(new Uint8Array(32).fill(7))
  const urlWith = async (env: Record<string, string>): Promise<string> => {
    const { fetch, requests } = scripted(() => Response.json({ public_key: publicKey }))
    await makeHaiKeys({ env, fetch }).publicKeyOf(someId)
    const { url, init } = requests[0]!
    expect([requests.length, init.redirect, new Headers(init.headers).get("accept")])
      .toEqual([1, "manual", "application/json"])
    return url
  }
  const path = `/jacs/v1/agents/${someId}/keys/latest`
  expect(await urlWith({})).toBe(`https://hai.ai${path}`)
  expect(await urlWith({ HAI_KEYS_BASE_URL: "https://keys.example/" })).toBe(`https://keys.example${path}`)
  expect(await urlWith({ HAI_KEYS_BASE_URL: "https://b.example", JACS_KEYS_BASE_URL: "https://a.example/x/" }))
    .toBe(`https://a.example/x${path}`)
  for (const base of ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"]) {
    expect(await urlWith({ JACS_KEYS_BASE_URL: base })).toBe(base + path)
  }
  const refused = (env: Record<string, string>): string => {
    try {
      makeHaiKeys({ env })
    } catch (error) {
      return StoreError.is(error) ? `${error.reason} ${error.message}` : String(error)
    }
    return "taken"
  }
  for (
    const base of [
      "http://keys.example",
      "http://localhost.example",
      "ftp://a",
      "keys",
      "https://u:hush@a",
      "https://a?b=hush",
    ]
  ) {
    expect(refused({ JACS_KEYS_BASE_URL: base })).toMatch(/^Config .*JACS_KEYS_BASE_URL/)
    expect(refused({ JACS_KEYS_BASE_URL: base })).not.toContain("hush")
  }
  for (const retries of ["-1", "many", "1.5", "11"]) {
    expect(refused({ HAI_KEY_FETCH_RETRIES: retries })).toMatch(/^Config .*HAI_KEY_FETCH_RETRIES/)
  }
})

test("row 92: what HAI answers is read: base64, PEM and DER, with and without the newer fields", async () => {
  const key = new Uint8Array(32).map((_, i) => i * 7)
  const der = Uint8Array.of(0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0, ...key)
  const pem = (bytes: Uint8Array): string =>
    `-----BEGIN PUBLIC KEY-----\n${toBase64(bytes).replace(/.{20}/g, "$&\n")}\n-----END PUBLIC KEY-----\n`
  const lookup = async (answer: unknown): Promise<AgentKey> => {
    const { fetch } = scripted(() => typeof answer === "string" ? new Response(answer) : Response.json(answer))
    return await makeHaiKeys({ env: noRetries, fetch }).publicKeyOf(someId)
  }
  const publicKeyHashOf = await publicKeyHash(key)
  for (const public_key of [toBase64(key), ` ${toBase64(key)}\n`, toBase64(der), pem(key), pem(der)]) {
    // JACS' own client knows these three.
    expect(await lookup({ public_key, algorithm: "ed25519", public_key_hash: "sha256:wrong" })).toEqual({
      agentId: someId,
      version: "latest",
      publicKey: key,
      publicKeyHash: publicKeyHashOf,
      algorithm: "ed25519",
      status: undefined,
    })
  }
  const newer = { jacs_id: someId.toUpperCase(), version: "v3", status: "revoked", dns_verified: true, created_at: "" }
  expect(await lookup({ public_key: "not this", public_key_raw_b64: toBase64(key), algorithm: "ed25519", ...newer }))
    .toMatchObject({ version: "v3", publicKey: key, status: "revoked" })

  const large = JSON.stringify({ public_key: toBase64(key), padding: "x".repeat(64 * 1024) })
  expect(await reasonOf(lookup(large))).toBe("Unavailable")
  const others = { public_key: toBase64(key), jacs_id: crypto.randomUUID() }
  for (
    const wrong of [
      "<html>",
      "null",
      "[]",
      "{}",
      { public_key: "" },
      { public_key: "%" },
      { public_key: 1 },
      others,
    ]
  ) {
    expect([wrong, await reasonOf(lookup(wrong))]).toEqual([wrong, "Protocol"])
  }
})

test("row 92: what HAI refuses is told at once; ids that are no UUIDs are not sent", async () => {
  const reasonAt = async (status: number): Promise<string> => {
    const { fetch, requests } = scripted(() =>
      new Response("{}", { status, headers: { location: "http://a.example" } })
    )
    const reason = await reasonOf(makeHaiKeys({ env: {}, fetch }).publicKeyOf(someId))
    return `${reason} ${requests.length}`
  }
  expect(await reasonAt(404)).toBe("NotFound 1")
  expect(await reasonAt(401)).toBe("Unauthorized 1")
  expect(await reasonAt(403)).toBe("Forbidden 1")
  expect(await reasonAt(302)).toBe("Protocol 1")
  expect(await reasonAt(400)).toBe("Protocol 1")

  const { fetch, requests } = scripted(() => new Response("{}"))
  const keys = makeHaiKeys({ env: {}, fetch })
  for (
    const [id, version] of [["../../x", "latest"], [someId, "../x"], [someId, ""], [`${someId}/x`, someId]] as const
  ) {
    expect(await reasonOf(keys.publicKeyOf(id, version))).toBe("InvalidKey")
  }
  expect(requests).toEqual([])
})

test("row 92: outages are tried again after 1, 2 and 4 seconds, and an attempt has 30", async () => {
  const withClock = <A>(body: Effect.Effect<A>): Promise<A> =>
    Effect.runPromise(Effect.provide(body, TestClock.layer()))
  /** How many requests there are after each step of time; and how it ends. */
  const course = (
    env: Record<string, string>,
    steps: ReadonlyArray<number>,
    ...answers: Answers
  ): Promise<ReadonlyArray<number | string>> =>
    withClock(Effect.gen(function* () {
      const { fetch, requests } = scripted(...answers)
      const lookup = Effect.match(haiKeyLookup({ env, fetch })(someId, "latest"), {
        onFailure: ({ reason }) => reason,
        onSuccess: ({ algorithm }) => algorithm,
      })
      const fiber = yield* Effect.forkChild(lookup)
      const seen: Array<number | string> = []
      for (const step of steps) {
        yield* TestClock.adjust(step)
        // The answers are promises: let them come.
        for (let turn = 0; turn < 20; turn++) yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve)))
        seen.push(requests.length)
      }
      return [...seen, yield* Fiber.join(fiber)]
    }))
  const found = () => Response.json({ public_key: toBase64(new Uint8Array(32)), algorithm: "ed25519" })
  const down = () => new Response("", { status: 503 })
  const gone = () => Promise.reject(new TypeError("connection reset"))
  const busy = () => new Response("", { status: 429 })
  const cut = () => new Response(new ReadableStream({ pull: (body) => body.error(new TypeError("terminated")) }))
  expect(await course({}, [0, 999, 1, 1999, 1, 3999, 1], down)).toEqual([1, 1, 2, 2, 3, 3, 4, "Unavailable"])
  expect(await course({}, [0, 1000, 2000, 4000], gone, busy, cut, found)).toEqual([1, 2, 3, 4, "ed25519"])
  expect(await course({ JACS_KEY_FETCH_RETRIES: "0", HAI_KEY_FETCH_RETRIES: "5" }, [0], down)).toEqual([
    1,
    "Unavailable",
  ])
  expect(await course({ HAI_KEY_FETCH_RETRIES: "1" }, [0, 1000], down)).toEqual([1, 2, "Unavailable"])
  const never = () => new Promise<Response>(() => {})
  expect(await course(noRetries, [0, 29_999, 1], never)).toEqual([1, 1, 1, "Timeout"])
})

test("row 92: a registry served as HAI's endpoint is read by its client, over a socket", async () => {
  await using store = await open("mem:")
  const registry = new AgentRegistry(store)
  const party = await makeParty()
  const { jacsId: id, jacsVersion: version } = party.agent
  await registry.register(party.agent, party.keys.publicKey)
  const handler = serveAgentKeys(registry)
  await using server = listen(handler)
  const keys = makeHaiKeys({ env: { ...noRetries, JACS_KEYS_BASE_URL: server.url } })
  const known = { ...await registry.publicKeyOf(id), status: "active" }
  expect(await keys.publicKeyOf(id)).toEqual(known)
  expect(await keys.publicKeyOf(id, version)).toEqual(known)
  expect(await reasonOf(keys.publicKeyOf(id, crypto.randomUUID()))).toBe("NotFound")
  expect(await stateOf(await signedBy(party), keys)).toBe("valid")

  const cachedHow = (version: string): Promise<string | null> =>
    handler(new Request(`http://localhost/jacs/v1/agents/${id}/keys/${version}`))
      .then(({ headers }) => headers.get("cache-control"))
  expect(await Promise.all(["latest", version, crypto.randomUUID()].map(cachedHow)))
    .toEqual(["no-cache", "public, max-age=300", "no-store"])
  const response = await fetch(`${server.url}/jacs/v1/agents/${id}/keys/${version}`)
  expect(response.headers.get("content-type")).toBe("application/json")
  expect(await response.json()).toEqual({
    jacs_id: id,
    version,
    public_key: toBase64(party.keys.publicKey),
    public_key_raw_b64: toBase64(party.keys.publicKey),
    algorithm: "ring-Ed25519",
    public_key_hash: party.signer.publicKeyHash,
    status: "active",
  })
  const statusOf = async (path: string, method = "GET", from = handler): Promise<number> =>
    (await from(new Request(`http://localhost${path}`, { method }))).status
  const path = `/jacs/v1/agents/${id}/keys/latest`
  expect([await statusOf(path), await statusOf(`/below${path}`), await statusOf(path, "HEAD")]).toEqual([200, 200, 200])
  expect([await statusOf(path, "PUT"), await statusOf(`${path}/more`), await statusOf("/")]).toEqual([405, 404, 404])
  expect(await statusOf("/jacs/v1/agents/%2e%2e/keys/latest")).toBe(404)
  expect(await statusOf("/jacs/v1/agents/a..b/keys/latest")).toBe(404)
  const failing = (reason: StoreError["reason"]) =>
    serveAgentKeys({ publicKeyOf: () => Promise.reject(new StoreError({ reason, detail: "of the test" })) })
  expect(await statusOf(path, "GET", failing("Unavailable"))).toBe(503)
  expect(await statusOf(path, "GET", failing("Corrupt"))).toBe(500)
})

// 93: sharing

test("row 93: B reads and verifies what A shares; the rest is refused, and what is changed is found", async () => {
  // A: a registry that everybody may ask, and documents behind a server. Its rules are those of `holdfast serve`.
  await using ours = await open("mem:")
  const a = await makeParty()
  const registry = new AgentRegistry(ours)
  await registry.register(a.agent, a.keys.publicKey)
  const documents = new DocumentStore(ours, { signer: a.signer })
  const attachments = [{ path: "terms.txt", bytes: new TextEncoder().encode("30 days") }]
  const shared = await documents.create({ title: "Offer" }, { attachments, embed: true })
  const next = await documents.update(shared.jacsId, { title: "Better offer" })
  const secret = await documents.create({ title: "Costs" })
  const { token, line } = makeToken("read", `documents/${shared.jacsId}`)
  const rules = [parseRule(line)]
  const routes = storeRoutes(ours, {
    authorize: (asked) => {
      const rule = ruleOf(rules, asked.request)
      return rule !== undefined && allows(rule, asked)
    },
  })
  const endpoint = serveAgentKeys(registry)
  await using server = listen((request) =>
    new URL(request.url).pathname.startsWith("/jacs/") ? endpoint(request) : routes.fetch(request)
  )

  // B: knows two addresses and the token.
  const openAs = (secretToken: string): Promise<Store> => open(server.url, { env: { HOLDFAST_TOKEN: secretToken } })
  await using theirs = await openAs(token)
  const verifier = makeAgentVerifier(makeHaiKeys({ env: { JACS_KEYS_BASE_URL: server.url } }))
  const readable = new DocumentStore(theirs, { verifier })
  const found = await readable.get(shared.jacsId, shared.jacsVersion)
  expect(found).toEqual(shared)
  expect(await readable.verify(found)).toEqual({ signature: "valid", files: 1 })
  expect(await new Response(await readable.file(found, "terms.txt")).text()).toBe("30 days")
  const versions = await readable.versions(shared.jacsId)
  expect(versions.map(({ version }) => version)).toEqual([shared.jacsVersion, next.jacsVersion])
  expect((await readable.get(next.jacsId, next.jacsVersion))["title"]).toBe("Better offer")

  // What is not shared, and what B might do with what is.
  expect(await reasonOf(readable.get(secret.jacsId, secret.jacsVersion))).toBe("Forbidden")
  expect(await reasonOf(readable.versions(secret.jacsId))).toBe("Forbidden")
  // Which one is the newest, the archive has a say in.
  expect(await reasonOf(readable.getLatest(shared.jacsId))).toBe("Forbidden")
  expect(await reasonOf(Array.fromAsync(readable.list()))).toBe("Forbidden")
  expect(await reasonOf(readable.update(`${next.jacsId}:${next.jacsVersion}`, { title: "Mine" }))).toBe("Forbidden")
  const key = `documents/${shared.jacsId}/${shared.jacsVersion}.json`
  expect([await reasonOf(theirs.save(key, "{}")), await reasonOf(theirs.remove(key))]).toEqual([
    "Forbidden",
    "Forbidden",
  ])
  expect(await reasonOf(theirs.load(`public_keys/${a.signer.publicKeyHash}.pem`))).toBe("Forbidden")
  expect(await reasonOf(openAs(makeToken("read", "").token))).toBe("Forbidden")

  // Somebody changes it on A's store: first clumsily, then with a digest that is right.
  const changed = { ...shared, title: "Worse offer" }
  await ours.save(key, JSON.stringify(changed))
  expect(await reasonOf(readable.get(shared.jacsId, shared.jacsVersion))).toBe("Corrupt")
  const sealedAgain = { ...changed, jacsSha256: await documentSha256(changed) }
  await ours.save(key, JSON.stringify(sealedAgain))
  expect(await reasonOf(readable.get(shared.jacsId, shared.jacsVersion))).toBe("Corrupt")
  expect(await reasonOf(readable.verify(sealedAgain))).toBe("Corrupt")
  // The signature alone has told: without it, this is a document like any other.
  expect((await new DocumentStore(theirs).get(shared.jacsId, shared.jacsVersion))["title"]).toBe("Worse offer")
})

// 94: DNS

const subjectOf = (publicKey = new Uint8Array(32).fill(9)) => ({ domain: "example.com", agentId: someId, publicKey })

const saying = (...records: ReadonlyArray<ReadonlyArray<string>>): ResolveTxt => () => Promise.resolve(records)

const failingWith = (code: string): ResolveTxt => () =>
  Promise.reject(Object.assign(new Error(`query ${code}`), { code }))

test("row 94: the record to publish is JACS', in base64 or hex", async () => {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", subjectOf().publicKey))
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("")
  const name = "_v1.agent.jacs.example.com."
  const head = `v=hai.ai; jacs_agent_id=${someId}; alg=SHA-256;`
  expect(await agentDnsRecord(subjectOf()))
    .toEqual({ name, text: `${head} enc=base64; jac_public_key_hash=${toBase64(digest)}` })
  expect(await agentDnsRecord({ ...subjectOf(), domain: "Example.COM." }, "hex"))
    .toEqual({ name, text: `${head} enc=hex; jac_public_key_hash=${hex}` })
  for (
    const domain of [
      "",
      ".",
      "a..b",
      "a b",
      "-a.example",
      "a.example;",
      "ä.example",
      `${"a".repeat(64)}.example`,
      "a.".repeat(130),
    ]
  ) {
    expect([domain, await reasonOf(agentDnsRecord({ ...subjectOf(), domain }))]).toEqual([domain, "InvalidInput"])
    expect(await reasonOf(checkAgentDns({ ...subjectOf(), domain }, { resolveTxt: saying() }))).toBe("InvalidInput")
  }
  for (const agentId of ["", "a; v=jacs", "a b", "x".repeat(65)]) {
    expect(await reasonOf(agentDnsRecord({ ...subjectOf(), agentId }))).toBe("InvalidInput")
  }
})

test("row 94: a record is checked: the right one, in either encoding, cut up, or among others", async () => {
  const asked: Array<string> = []
  const check = async (resolveTxt: ResolveTxt): Promise<string> => {
    const { outcome, ok, name } = await checkAgentDns(subjectOf(), {
      resolveTxt: (wanted) => {
        asked.push(wanted)
        return resolveTxt(wanted)
      },
    })
    expect([ok, name]).toEqual([outcome === "verified", "_v1.agent.jacs.example.com."])
    return outcome
  }
  const { text } = await agentDnsRecord(subjectOf())
  const { text: inHex } = await agentDnsRecord(subjectOf(), "hex")
  const { text: otherKey } = await agentDnsRecord(subjectOf(new Uint8Array(32).fill(8)))
  const { text: otherAgent } = await agentDnsRecord({ ...subjectOf(), agentId: crypto.randomUUID() })
  expect(await check(saying([text]))).toBe("verified")
  expect(asked).toEqual(["_v1.agent.jacs.example.com."])
  expect(await check(saying([inHex]))).toBe("verified")
  expect(await check(saying([inHex.replace(/[0-9a-f]{64}$/, (hex) => hex.toUpperCase())]))).toBe("verified")
  expect(await check(saying([text.replace("v=hai.ai", "v=jacs")]))).toBe("verified")
  expect(await check(saying([text.replaceAll("; ", ";") + ";"]))).toBe("verified")
  expect(await check(saying([text.slice(0, 10), text.slice(10, 90), text.slice(90)]))).toBe("verified")
  expect(await check(saying(["v=spf1 -all"], [otherAgent], [otherKey], [text]))).toBe("verified")

  expect(await check(saying([otherKey]))).toBe("wrong-digest")
  expect(await check(saying([text.replace("enc=base64", "enc=hex")]))).toBe("malformed")
  expect(await check(saying([otherAgent]))).toBe("wrong-agent")
  expect(await check(saying([otherAgent], ["v=spf1 -all"]))).toBe("wrong-agent")
  expect(await check(saying([text.replace("SHA-256", "MD5")]))).toBe("malformed")
  expect(await check(saying([text.replace(/jac_public.*/, "")]))).toBe("malformed")
  expect(await check(saying([text.slice(0, -4)]))).toBe("malformed")
})

test("row 94: where no record is found, it is for the caller to say whether one is required", async () => {
  const silences: ReadonlyArray<readonly [ResolveTxt, AgentDnsOutcome]> = [
    [saying(), "missing"],
    [saying(["v=spf1 -all"]), "missing"],
    [failingWith("ENOTFOUND"), "missing"],
    [failingWith("ENODATA"), "missing"],
    [failingWith("ESERVFAIL"), "unavailable"],
    [failingWith("ETIMEOUT"), "unavailable"],
  ]
  for (const [resolveTxt, expected] of silences) {
    const outcomes = await Promise.all(
      [undefined, true, false].map((required) => checkAgentDns(subjectOf(), { required, resolveTxt })),
    )
    expect(outcomes.map(({ outcome, ok }) => [outcome, ok]))
      .toEqual([[expected, false], [expected, false], [expected, true]])
  }
  // What is wrong is wrong, required or not.
  const { text } = await agentDnsRecord(subjectOf(new Uint8Array(32)))
  for (const wrong of [text, text.replace(someId, crypto.randomUUID()), "v=hai.ai"]) {
    expect((await checkAgentDns(subjectOf(), { required: false, resolveTxt: saying([wrong]) })).ok).toBe(false)
  }
})

// 95: documented

const root = fileURLToPath(new URL("../../", import.meta.url))
const page = await readFile(`${root}docs/migrating.md`, "utf8")
const section = /^### HAI: registry, sharing, DNS\n([\s\S]*?)(?=^##)/m.exec(page)?.[1] ?? ""

test("row 95: the use cases of HAI are answered in the guide and on the page, with names that there are", () => {
  expect(chooseBackend("jacs", "multi-organization")).toMatchObject({ recommended: "hai", backend: "hai" })
  for (const useCase of ["Multi-agent ecosystems", "Managed deployments", "Integration with HAI services"]) {
    expect(section).toContain(`- **${useCase}.**`)
  }
  const named = new Set(section.match(/\b(?:AgentRegistry|agentDns\w+|(?:make|serve|check)[A-Z]\w+)\b/g))
  expect([...named].sort()).toEqual([
    "AgentRegistry",
    "agentDnsRecord",
    "checkAgentDns",
    "makeAgentVerifier",
    "makeHaiKeys",
    "serveAgentKeys",
  ])
  for (const name of named) expect(Object.keys(jacs)).toContain(name)
})

test("row 95: the program on the page runs", async () => {
  const code = /```ts\n([\s\S]*?)```/.exec(section)![1]!
  // Inside the project, so that the package's own name resolves; its files go to where it is started.
  await mkdir(`${root}.cache`, { recursive: true })
  const folder = await mkdtemp(`${root}.cache/hai-`)
  try {
    await writeFile(`${folder}/page.ts`, `${code}\nconsole.log("to the end")`)
    const flags = process.versions["deno"] === undefined
      ? []
      : ["run", "-A", "--no-check", "--config", `${root}deno.json`]
    const own = { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "" }
    const output = await new Promise<string>((resolve, reject) => {
      execFile(
        process.execPath,
        [...flags, `${folder}/page.ts`],
        { cwd: folder, env: own },
        (error, stdout, stderr) => {
          if (error === null) resolve(stdout + stderr)
          else reject(new Error(stdout + stderr))
        },
      )
    })
    expect(output).toBe("to the end\n")
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
