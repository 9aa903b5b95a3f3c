/**
 * The least that a program needs to speak S3 with `fetch` and nothing else: Signature Version 4 over three headers,
 * no checksum, no second attempt, no look at what comes back but its status.
 *
 * @module
 */
import { createHash, createHmac } from "node:crypto"

/** A bucket, and who may use it. */
export interface Target {
  readonly endpoint: string
  readonly bucket: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Holdfast's profile of the service. */
  readonly profile: "aws" | "ceph"
}

const hmac = (key: string | Uint8Array, text: string): Buffer => createHmac("sha256", key).update(text).digest()

/** Sends a signed request; throws unless it succeeds. `path` and `query` are escaped and sorted already. */
export type Send = (
  method: string,
  path: string,
  options?: { readonly query?: string; readonly body?: Uint8Array | string; readonly range?: string },
) => Promise<Response>

/** A client of `target`. */
export const bareClient = ({ endpoint, bucket, region, accessKeyId, secretAccessKey }: Target): Send => {
  const { host } = new URL(endpoint)
  const day = new Date().toISOString().slice(0, 10).replaceAll("-", "")
  const scope = `${day}/${region}/s3/aws4_request`
  const key = hmac(hmac(hmac(hmac(`AWS4${secretAccessKey}`, day), region), "s3"), "aws4_request")
  return async (method, path, { query = "", body, range } = {}) => {
    const now = new Date().toISOString().replace(/[-:]|\.\d+/g, "")
    const canonical = `${method}\n/${bucket}/${path}\n${query}\nhost:${host}\n` +
      `x-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:${now}\n\n` +
      "host;x-amz-content-sha256;x-amz-date\nUNSIGNED-PAYLOAD"
    const text = `AWS4-HMAC-SHA256\n${now}\n${scope}\n${createHash("sha256").update(canonical).digest("hex")}`
    const response = await fetch(`${endpoint}/${bucket}/${path}${query === "" ? "" : `?${query}`}`, {
      method,
      body: body as BodyInit,
      headers: {
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        "x-amz-date": now,
        authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, ` +
          `SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=${hmac(key, text).toString("hex")}`,
        ...(range === undefined ? {} : { range }),
      },
    })
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${(await response.text()).slice(0, 200)}`)
    return response
  }
}
