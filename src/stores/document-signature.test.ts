import { expect, test } from "bun:test"
import { StoreError } from "../error.ts"
import { hashOf, header, makeMemory, openOn, reasonOf } from "./document-helpers-testing.ts"
import { documentSha256 } from "./document-signature.ts"
import {
  type Document,
  type DocumentsOptions,
  DocumentStore,
  generateEd25519Keys,
  makeEd25519Signer,
  makeEd25519Verifier,
  publicKeyHash,
} from "./documents.ts"

/** Signs texts as JACS of another age did. */
const makeAged = async () => {
  const keys = await generateEd25519Keys()
  const key = await crypto.subtle.importKey("pkcs8", keys.privateKey, "Ed25519", false, ["sign"])
  const hash = await publicKeyHash(keys.publicKey)
  const sign = async (message: string): Promise<string> =>
    btoa(String.fromCharCode(
      ...new Uint8Array(await crypto.subtle.sign("Ed25519", key, new TextEncoder().encode(message))),
    ))
  const options: DocumentsOptions = { verifier: makeEd25519Verifier([keys.publicKey]) }
  return { sign, hash, options }
}

test("row 144: what JACS 0.3.6 signed is verified: its strings in order, and a digest of sorted fields", async () => {
  const { sign, hash, options } = await makeAged()
  const fields = ["title", "amount", "jacsId"]
  const signature = await sign(`Über ${header.jacsId}`)
  const by = `{"agentID":"a","agentVersion":"b","date":"2025-01-01T00:00:00Z","fields":${JSON.stringify(fields)}` +
    `,"publicKeyHash":"${hash}","signature":"${signature}","signingAlgorithm":"ring-Ed25519"}`
  const sorted = `{"$schema":"${header.$schema}","amount":1.0,"jacsId":"${header.jacsId}","jacsLevel":"raw",` +
    `"jacsOriginalDate":"${header.jacsOriginalDate}","jacsOriginalVersion":"${header.jacsOriginalVersion}",` +
    `"jacsSignature":${by},"jacsType":"document","jacsVersion":"${header.jacsVersion}",` +
    `"jacsVersionDate":"${header.jacsVersionDate}","large":12345678901234567890,"title":"Über"}`
  const text = sorted.replace(/}$/, `,"jacsSha256":"${await hashOf(new TextEncoder().encode(sorted))}"}`)
  await using store = await openOn(await makeMemory())
  const documents = new DocumentStore(store, options)
  expect(await documents.verify(text)).toEqual({ signature: "valid", files: 0 })
  const name = `${header.jacsId}:${header.jacsVersion}`
  await documents.add(text)
  expect(await documents.getText(name)).toBe(text)
  const strict = new DocumentStore(store, { ...options, acceptLegacy: false })
  expect(await reasonOf(strict.get(name))).toBe("Corrupt")
  expect(await reasonOf(documents.verify(text.replace("1.0", "1.5")))).toBe("Corrupt")
  // It moves byte for byte: its digest is over the way its numbers are written.
  await using other = await openOn(await makeMemory())
  const moved = new DocumentStore(other, options)
  expect((await moved.copyFrom(documents)).documents).toEqual({ copied: 1, present: 0 })
  expect(await moved.getText(name)).toBe(text)
})

test("row 144: what JACS 0.8 signed is verified: the canonical form of each value", async () => {
  const { sign, hash, options } = await makeAged()
  const content = { ...header, b: { d: 1, c: [true] } }
  const signature = {
    agentID: "a",
    agentVersion: "b",
    date: "2026-01-01T00:00:00Z",
    fields: ["b", "jacsId"],
    publicKeyHash: hash,
    signature: await sign(`{"c":[true],"d":1} "${header.jacsId}"`),
    signingAlgorithm: "ring-Ed25519",
  }
  const signed = { ...content, jacsSignature: signature }
  const document = { ...signed, jacsSha256: await documentSha256(signed) } as Document
  await using store = await openOn(await makeMemory())
  expect((await new DocumentStore(store, options).verify(document)).signature).toBe("valid")
})

test("row 144: the newest form is what JACS' own description of it says, byte for byte", async () => {
  const keys = await generateEd25519Keys()
  const signer = await makeEd25519Signer({ ...keys, agentId: "agent", agentVersion: "version" })
  let message = ""
  const spy = {
    ...signer,
    sign: (bytes: Uint8Array<ArrayBuffer>) => {
      message = new TextDecoder().decode(bytes)
      return signer.sign(bytes)
    },
  }
  await using store = await openOn(await makeMemory())
  const made = await new DocumentStore(store, { signer: spy }).create({ ...header, z: { y: 1, x: "é" } })
  const { signature: _, ...facts } = made.jacsSignature!
  const names = [...Object.keys(header), "z"].toSorted()
  expect(facts.fields).toEqual(names)
  const value = (name: string) => name === "z" ? `{"x":"é","y":1}` : JSON.stringify(made[name])
  const metadata = Object.entries(facts).toSorted(([a], [b]) => a < b ? -1 : 1)
    .map(([name, fact]) => `${JSON.stringify(name)}:${JSON.stringify(fact)}`)
  expect(message).toBe(
    `{"domain":"jacs.signature.v2","fields":[${
      names.map((name) => `{"name":"${name}","value":${value(name)}}`).join(",")
    }],"placementKey":"jacsSignature","signatureMetadata":{${metadata.join(",")}}}`,
  )
  expect(facts).toMatchObject({
    agentID: "agent",
    agentVersion: "version",
    signingAlgorithm: "ring-Ed25519",
    signatureContentVersion: "jacs-signature-v2",
    publicKeyHash: signer.publicKeyHash,
  })
})

test("a private key that is none is refused without being shown", async () => {
  const keys = await generateEd25519Keys()
  const error = await makeEd25519Signer({ ...keys, privateKey: keys.publicKey, agentId: "a", agentVersion: "b" })
    .catch((error) => error)
  expect([error.reason, error.detail]).toEqual(["Config", "the private key is no Ed25519 key in PKCS #8"])
  // As Rust's ring writes it: version 2, with the public key behind.
  const ring = new Uint8Array([
    0x30,
    0x53,
    2,
    1,
    1,
    ...keys.privateKey.subarray(5),
    0xa1,
    0x23,
    3,
    0x21,
    0,
    ...keys.publicKey,
  ])
  const signer = await makeEd25519Signer({ ...keys, privateKey: ring, agentId: "a", agentVersion: "b" })
  await using store = await openOn(await makeMemory())
  const documents = new DocumentStore(store, { signer, verifier: makeEd25519Verifier([keys.publicKey]) })
  expect((await documents.verify(await documents.create({}))).signature).toBe("valid")
})

test("a verifier that cannot be asked is no verdict: the failure is its own, and find() leaves nothing out", async () => {
  const keys = await generateEd25519Keys()
  const signer = await makeEd25519Signer({ ...keys, agentId: "a", agentVersion: "b" })
  await using store = await openOn(await makeMemory())
  const document = await new DocumentStore(store, { signer }).create({})
  const down = new StoreError({ reason: "Unavailable", detail: "the registry is down", operation: "verify" })
  const documents = new DocumentStore(store, { verifier: { verify: () => Promise.reject(down) } })
  expect(await reasonOf(documents.verify(document))).toBe("Unavailable")
  expect(await reasonOf(documents.get(`${document.jacsId}:${document.jacsVersion}`))).toBe("Unavailable")
  expect(await reasonOf(Array.fromAsync(documents.find()))).toBe("Unavailable")
})
