/**
 * What the peer's own tests share: a bare client without signatures, and Amazon's SDK pointed at a server.
 *
 * @module
 */
import { S3Client } from "@aws-sdk/client-s3"
import type { S3ClientConfig } from "@aws-sdk/client-s3"
import { makeS3Peer, peerCredentials, type S3Peer, type S3PeerOptions } from "./mod.ts"

/** An answer, read to its end. */
export interface Seen {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The code in an error document; `""` where there is none. */
  readonly code: string
}

/** Reads an answer to its end. */
export const see = async (response: Response): Promise<Seen> => {
  const text = await response.text()
  const code = /<Code>([^<]*)<\/Code>/.exec(text)?.[1] ?? ""
  return { status: response.status, headers: response.headers, text, code }
}

/** One request to the bucket `test`, not signed: `"GET a?tagging"`. */
export type Ask = (line: string, init?: Omit<RequestInit, "method">) => Promise<Seen>

/** A peer that takes requests without a signature, and a way to send them. */
export const openPeer = (options: S3PeerOptions = {}): { readonly peer: S3Peer; readonly ask: Ask } => {
  const peer = makeS3Peer({ anonymous: true, seed: 1, minPartSize: 4, ...options })
  return {
    peer,
    ask: async (line, init) => {
      const [method = "", path = ""] = line.split(" ", 2)
      return await see(await peer.fetch(`http://127.0.0.1/test/${path}`, { redirect: "manual", ...init, method }))
    },
  }
}

/** The first text between `<name>` and `</name>`. */
export const field = (text: string, name: string): string | undefined =>
  new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1]

/** The texts of all elements of that name. */
export const fields = (text: string, name: string): ReadonlyArray<string> =>
  [...text.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, "g"))].map((match) => match[1]!)

/** Amazon's client for a server, without retries. */
export const sdkFor = (url: string, config: S3ClientConfig = {}): S3Client =>
  new S3Client({
    endpoint: url,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: peerCredentials,
    maxAttempts: 1,
    ...config,
  })
