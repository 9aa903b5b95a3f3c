/**
 * Files on the server: what is there, the reading of one together with its record, and the writing of one in a step that
 * others see as a whole.
 *
 * A file is written under a temporary name, gets its record, and is then moved to its key. What a maintainer must keep:
 * nothing is moved onto a folder, and no folder is removed but an empty one, since servers take away all that is in it.
 *
 * @module
 */
import type { ObjectInfo, PutOptions } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import type { Asked, Client } from "./client.ts"
import { holdsObjects, propfind } from "./list.ts"
import { namesOf, pathFlaw, privateFolder, recordFolder, recordPath, temporaryFolder, urlPath } from "./names.ts"
import { formatRecord, infoOf, type ObjectRecord, parseRecord, recordFor } from "./record.ts"

/** A file as the server knows it. */
export interface Live {
  readonly etag: string
  readonly size: number
  readonly modified: Date
  /** When the server said so, by its own clock. */
  readonly said: number
}

/** An object that has been opened. */
export interface Opened {
  readonly live: Live
  readonly record: ObjectRecord | undefined
  readonly response: Response
}

/** What is answered where there is no file: nothing, or a folder. */
const noFile: ReadonlyArray<number> = [301, 302, 307, 308, 404, 405, 410]

/** Most bytes of a record; its metadata have 2 KiB. */
const maxRecord = 64 * 1024

/** How often a reader starts again that meets a writer. */
const maxRounds = 8

/** A record that was made so long before a file was opened was there first, however coarse the server's clock, in ms. */
const settled = 2500

/** How often a file is written again whose etag is another one's. */
const maxTries = 4

/** Folders that are known to be there, at most. */
const maxKnown = 10_000

/** Longest time for taking away one file of a put that has failed, in milliseconds. */
const cleanUp = 10_000

/** The files of one store. */
export class Files {
  readonly client: Client
  readonly #known = new Set<string>()
  #movesKeepEtags = false

  constructor(client: Client) {
    this.client = client
  }

  /** The path of a key. Throws `InvalidKey`. */
  pathOf(operation: string, key: string): string {
    const detail = pathFlaw(key)
    if (detail !== undefined) throw new StoreError({ reason: "InvalidKey", operation, key, detail, backend: "webdav" })
    return urlPath(namesOf(key))
  }

  /** The file at a path; `undefined` where there is none, or a folder. */
  async head(operation: string, key: string, path: string, signal: AbortSignal): Promise<Live | undefined> {
    const asked: Asked = { operation, key, method: "HEAD", path, also: noFile }
    return await this.#live(asked, await this.client.tell(asked, signal), signal)
  }

  async #live(asked: Asked, response: Response, signal: AbortSignal): Promise<Live | undefined> {
    const { status, headers } = response
    if (status === 404 || status === 410) return undefined
    if (status >= 300) {
      await response.body?.cancel().catch(() => undefined)
      if (await this.#kind(asked.operation, asked.path, signal) === "folder") return undefined
      throw this.client.refusal(asked, response)
    }
    const etag = headers.get("etag")?.replace(/^W\//, "").replaceAll('"', "") ?? ""
    const whole = /\/(\d{1,15})$/.exec(headers.get("content-range") ?? "")?.[1] ?? headers.get("content-length") ?? ""
    const modified = new Date(headers.get("last-modified") ?? NaN)
    if (etag !== "" && /^\d{1,15}$/.test(whole) && !Number.isNaN(modified.getTime())) {
      return { etag, size: Number(whole), modified, said: Date.parse(headers.get("date") ?? "") }
    }
    await response.body?.cancel().catch(() => undefined)
    // Others show a page for a folder.
    if (await this.#kind(asked.operation, asked.path, signal) === "folder") return undefined
    throw this.client.fault(asked, {
      reason: "Unsupported",
      detail: "the server gives files no etag, length or time, so that no write can be told from another",
    })
  }

  async #kind(operation: string, path: string, signal: AbortSignal): Promise<"file" | "folder" | "missing"> {
    const [resource] = await propfind(this.client, operation, path, 0, signal) ?? []
    return resource === undefined ? "missing" : resource.collection ? "folder" : "file"
  }

  /** The record of a file, and when it was made, by the server's clock. */
  async #record(
    operation: string,
    key: string,
    live: Live,
    signal: AbortSignal,
  ): Promise<{ readonly record: ObjectRecord; readonly made: number } | undefined> {
    const path = await recordPath(key, live.etag)
    const asked: Asked = { operation, key, method: "GET", path, also: [404, 410] }
    const response = await this.client.send(asked, signal)
    const text = await this.client.text(asked, response, maxRecord)
    if (response.status === 404 || response.status === 410) return undefined
    const record = parseRecord(text)
    if (record?.key === key && record.size === live.size) {
      return { record, made: Date.parse(response.headers.get("last-modified") ?? "") }
    }
    throw this.client.fault(asked, {
      reason: "Corrupt",
      detail: `what is kept beside it in ${privateFolder} is damaged, or of a later version`,
      hint: "its bytes can be read with any client of WebDAV; save it again",
    })
  }

  /** The facts of an object; `undefined` where there is none. */
  async stat(operation: string, key: string, signal: AbortSignal): Promise<ObjectInfo | undefined> {
    const path = this.pathOf(operation, key)
    for (let round = 0;; round++) {
      const live = await this.head(operation, key, path, signal)
      if (live === undefined) return undefined
      const found = await this.#record(operation, key, live, signal)
      if (found !== undefined) return infoOf(key, live, found.record)
      // Foreign, unless it has been replaced in between and its record taken away.
      const now = await this.head(operation, key, path, signal)
      if (now?.etag === live.etag || round === maxRounds) return infoOf(key, live, undefined)
    }
  }

  /** An object with an open body, and the record of those bytes; `undefined` where there is none. */
  async open(key: string, range: string | undefined, signal: AbortSignal): Promise<Opened | undefined> {
    const path = this.pathOf("get", key)
    const asked: Asked = {
      operation: "get",
      key,
      method: "GET",
      path,
      headers: range === undefined ? {} : { range },
      also: noFile,
    }
    for (let round = 0; round < maxRounds; round++) {
      const first = await this.#openOnce(asked, signal)
      if (first === undefined) return undefined
      const found = await this.#kept(first.response, () => this.#record("get", key, first.live, signal))
      if (found === undefined) {
        const now = await this.#kept(first.response, () => this.head("get", key, path, signal))
        if (now?.etag === first.live.etag) return { ...first, record: undefined }
        await first.response.body?.cancel().catch(() => undefined)
        continue
      }
      if (found.made + settled < first.live.said) return { ...first, record: found.record }
      // So young a record may be of a later write with the same etag. Bytes that are opened between two looks at one
      // record are that record's.
      await first.response.body?.cancel().catch(() => undefined)
      const second = await this.#openOnce(asked, signal)
      if (second === undefined) return undefined
      const again = second.live.etag === first.live.etag
        ? await this.#kept(second.response, () => this.#record("get", key, second.live, signal))
        : undefined
      if (again?.record.writeId === found.record.writeId) return { ...second, record: found.record }
      await second.response.body?.cancel().catch(() => undefined)
    }
    throw this.client.fault(asked, {
      reason: "Changed",
      transient: true,
      detail: `it was replaced ${maxRounds} times while it was being opened`,
    })
  }

  /** The result of `work`; a body that nobody gets is cancelled. */
  async #kept<A>({ body }: Response, work: () => Promise<A>): Promise<A> {
    try {
      return await work()
    } catch (error) {
      await body?.cancel().catch(() => undefined)
      throw error
    }
  }

  async #openOnce(asked: Asked, signal: AbortSignal): Promise<{ live: Live; response: Response } | undefined> {
    const response = await this.client.send(asked, signal)
    const live = await this.#kept(response, () => this.#live(asked, response, signal))
    if (live !== undefined) return { live, response }
    await response.body?.cancel().catch(() => undefined)
    return undefined
  }

  async #makeFolder(operation: string, path: string, signal: AbortSignal): Promise<void> {
    if (this.#known.has(path)) return
    if (await this.#kind(operation, path, signal) === "missing") {
      const make = (folder: string): Promise<unknown> =>
        this.client.tell({ operation, method: "MKCOL", path: `${folder}/`, also: [405] }, signal)
      await make(path).catch(async (error: unknown) => {
        if (!StoreError.is(error) || error.reason !== "Conflict") throw error
        // Its parent is missing, and of the store's own folders there is none above that has not been made: the store is new.
        await make("")
        await make(path)
      })
    }
    if (this.#known.size >= maxKnown) this.#known.clear()
    this.#known.add(path)
  }

  /** Makes the folders above a key; `Conflict` where one of them is an object. */
  async #makeParents(operation: string, key: string, signal: AbortSignal): Promise<void> {
    const names = namesOf(key).slice(0, -1)
    const paths = names.map((_, index) => urlPath(names.slice(0, index + 1)))
    let depth = paths.length
    for (; depth > 0 && !this.#known.has(paths[depth - 1]!); depth--) {
      const kind = await this.#kind(operation, paths[depth - 1]!, signal)
      if (kind === "folder") break
      if (kind === "file") {
        const above = key.split("/").slice(0, depth).join("/")
        throw this.#fault(operation, key, "Conflict", `"${above}" is an object, and cannot be a folder as well`)
      }
    }
    for (const path of paths.slice(depth)) await this.#makeFolder(operation, path, signal)
  }

  #fault(
    operation: string,
    key: string,
    reason: "Conflict" | "Unsupported",
    detail: string,
    transient = false,
  ): StoreError {
    return new StoreError({ reason, operation, key, detail, transient, ambiguous: false, backend: "webdav" })
  }

  /** Writes an object and its record. */
  async put(key: string, bytes: Uint8Array, options: PutOptions, signal: AbortSignal): Promise<ObjectInfo> {
    const operation = "put"
    const path = this.pathOf(operation, key)
    for (const folder of [privateFolder, temporaryFolder, recordFolder]) {
      await this.#makeFolder(operation, `/${folder}`, signal)
    }
    const temporary = `/${temporaryFolder}/${crypto.randomUUID()}`
    const left = new Set<string>([temporary])
    try {
      const record = recordFor(key, bytes.length, options)
      const { live, recordAt } = await this.#write(temporary, bytes, record, left, signal)
      const before = await this.#makeRoom(key, path, signal)
      if (before === undefined) await this.#makeParents(operation, key, signal)
      // From here on the record is the object's, whatever becomes of the answer.
      left.delete(recordAt)
      await this.#move({ operation, key, path: temporary, replace: true }, path, signal).catch((error: unknown) => {
        this.#known.clear()
        if (StoreError.is(error) && !error.ambiguous) left.add(recordAt)
        throw error
      })
      left.delete(temporary)
      await this.#checkMoved(key, path, live, recordAt, signal)
      if (before !== undefined && before.etag !== live.etag) {
        await this.#drop(await recordPath(key, before.etag), signal)
      }
      return infoOf(key, live, record)
    } finally {
      // Whoever has given the put up wants no debris either.
      for (const path of left) await this.#drop(path, AbortSignal.timeout(cleanUp))
    }
  }

  /** Writes a file under a temporary name, until its etag is no other write's, and its record. */
  async #write(
    path: string,
    bytes: Uint8Array,
    record: ObjectRecord,
    left: Set<string>,
    signal: AbortSignal,
  ): Promise<{ live: Live; recordAt: string }> {
    const { key } = record
    const operation = "put"
    let time: Date | undefined
    for (let tried = 0; tried < maxTries; tried++) {
      // Where etags are made of seconds and sizes (nginx), a file of another second has another one.
      const headers: Record<string, string> = time === undefined ? {} : { date: time.toUTCString() }
      await this.client.tell({ operation, key, method: "PUT", path, headers, body: bytes }, signal)
      const live = await this.head(operation, key, path, signal)
      if (live?.size !== bytes.length) {
        throw this.client.fault({ operation, key, method: "PUT", path }, {
          reason: "Truncated",
          transient: true,
          ambiguous: false,
          detail: `the server has ${live?.size ?? "none"} of the ${bytes.length} bytes that were sent`,
          hint: "nothing was saved; try again",
        })
      }
      const recordAt = await recordPath(key, live.etag)
      await this.#makeFolder(operation, recordAt.slice(0, recordAt.lastIndexOf("/")), signal)
      const draft = `${path}.json`
      left.add(draft)
      await this.client.tell({ operation, key, method: "PUT", path: draft, body: formatRecord(record) }, signal)
      const { status } = await this.#move({ operation, key, path: draft, replace: false }, recordAt, signal)
      if (status !== 412) {
        left.delete(draft)
        left.add(recordAt)
        return { live, recordAt }
      }
      time = new Date(live.modified.getTime() + 1000 * (tried + 1))
    }
    const detail = "the server gives another write of this moment the same etag"
    throw this.#fault(operation, key, "Conflict", detail, true).with({ retryAfter: 1000 })
  }

  async #move(
    { operation, key, path, replace }: Pick<Asked, "operation" | "key" | "path"> & { readonly replace: boolean },
    to: string,
    signal: AbortSignal,
  ): Promise<Response> {
    const headers = { destination: this.client.urlOf(to), overwrite: replace ? "T" : "F" }
    return await this.client.tell({ operation, key, method: "MOVE", path, headers, also: replace ? [] : [412] }, signal)
  }

  /** What is at a key before it is replaced. A folder without objects is taken away; one with objects is a `Conflict`. */
  async #makeRoom(key: string, path: string, signal: AbortSignal): Promise<Live | undefined> {
    const live = await this.head("put", key, path, signal)
    if (live !== undefined || await this.#kind("put", path, signal) !== "folder") return live
    if (await holdsObjects(this.client, "put", `${key}/`, signal)) {
      throw this.#fault("put", key, "Conflict", "there are objects below it, and a folder cannot be an object as well")
    }
    this.#known.clear()
    await this.client.tell({ operation: "put", key, method: "DELETE", path: `${path}/`, also: [404] }, signal)
    return undefined
  }

  /** Once for each server: that a file keeps its etag when it is moved, on which all of this stands. */
  async #checkMoved(key: string, path: string, live: Live, recordAt: string, signal: AbortSignal): Promise<void> {
    if (this.#movesKeepEtags) return
    const now = await this.head("put", key, path, signal)
    if (now?.etag === live.etag) this.#movesKeepEtags = true
    else if (now !== undefined && now.size === live.size && await this.#record("put", key, now, signal) === undefined) {
      await this.#drop(recordAt, signal)
      throw this.#fault("put", key, "Unsupported", "this server gives a file another etag when it is moved")
    }
  }

  /** Takes away what is of no use to anybody; should that fail, it stays. */
  async #drop(path: string, signal: AbortSignal): Promise<void> {
    await this.client.tell({ operation: "put", method: "DELETE", path, also: [404] }, signal).catch(() => undefined)
  }

  /** Removes an object and its record. */
  async remove(key: string, signal: AbortSignal): Promise<void> {
    const operation = "remove"
    const path = this.pathOf(operation, key)
    const live = await this.head(operation, key, path, signal)
    // Where there is a folder there is no object.
    if (live === undefined) return
    await this.client.tell({ operation, key, method: "DELETE", path, also: [404, 410] }, signal)
    await this.#drop(await recordPath(key, live.etag), signal)
  }
}
