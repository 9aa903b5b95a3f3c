/**
 * Which object of which store an argument of `cp` and `mv` means.
 *
 * An argument is a key, of `--store` or of the store that `--from-store` or `--to-store` names. Where neither flag is
 * given, one that starts with `s3://` or `r2://` is a URL with the key in its path; a `file:` URL cannot hold one,
 * since nothing says where the folder ends and the key begins.
 *
 * @module
 */
import { type CommandError, usageError } from "./exit.ts"

/** An object, or a prefix, and its store. */
export interface Address {
  /** URL of the store. */
  readonly store: string
  /** Key or prefix there. */
  readonly key: string
}

/** `s3://bucket/KEY?options`, and `r2://account/bucket/KEY` with or without the account. */
const withKey = /^((?:s3:\/\/|r2:\/\/(?:[0-9a-f]{32}\/)?)[^/?#]+)(?:\/([^?#]*))?(\?[^#]*)?$/i

/** Reads an argument; `named` is what its own flag says, `store` what `--store` does. */
export const addressOf = (argument: string, named: string | undefined, store: string): Address | CommandError => {
  if (named !== undefined) return { store: named, key: argument }
  if (!/^(?:s3|r2):\/\//i.test(argument)) return { store, key: argument }
  const [, bucket, path = "", query = ""] = withKey.exec(argument) ?? []
  // Not repeated in the messages: people put secrets into URLs.
  if (bucket === undefined) return usageError("A URL names no bucket", 'write it like "s3://bucket/key?region=…"')
  try {
    return { store: bucket + query, key: decodeURIComponent(path) }
  } catch {
    return usageError("A URL is not percent-encoded well", 'write "%" in the key as "%25"')
  }
}
