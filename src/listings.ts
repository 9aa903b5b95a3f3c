/**
 * What a store lists, page by page as it is read: objects, versions, and uploads that have not ended.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Backend, ListPage } from "./backend.ts"
import { StoreError } from "./error.ts"
import { type Flaw, unsupported } from "./flaw.ts"
import { prefixFlaw } from "./key.ts"
import type { ObjectStoreService } from "./object-store.ts"
import type { ListOptions } from "./options.ts"
import type { Verb } from "./verb.ts"

/** The verbs that list. */
export type Listings = Pick<ObjectStoreService, "pages" | "list" | "versions" | "uploads">

/** What a page is asked for. */
interface Asked {
  readonly prefix: string | undefined
  readonly cursor: string | undefined
}

/** What is in a page. */
interface Page<A> {
  readonly items: ReadonlyArray<A>
  readonly cursor?: string | undefined
}

const listFlaw = (o: ListOptions): Flaw | undefined => {
  const detail = prefixFlaw(o.prefix ?? "")
  if (detail !== undefined) return { reason: "InvalidKey", detail }
  if (o.delimiter === undefined || o.delimiter === "/") return undefined
  return { reason: "InvalidInput", detail: `the delimiter is ${JSON.stringify(o.delimiter)}; only "/" is possible` }
}

/** The listings of a backend. */
export const listings = (backend: Backend, verb: Verb): Listings => {
  /** The elements of all pages of something that the backend may be unable to list. */
  const paged = <A>(
    operation: string,
    what: string,
    o: ListOptions,
    page: ((asked: Asked) => Effect.Effect<Page<A>, StoreError>) | undefined,
  ): Stream.Stream<A, StoreError> =>
    Stream.paginate<string | undefined, A, StoreError>(
      undefined,
      (cursor) =>
        verb(
          operation,
          o.prefix,
          o,
          () =>
            listFlaw(o) ??
              (page === undefined ? unsupported(`this store has no ${what} that could be listed`) : undefined),
          () =>
            Effect.map(
              page!({ prefix: o.prefix, cursor }),
              ({ items, cursor: next }) => [items, Option.fromNullishOr(next === cursor ? undefined : next)] as const,
            ),
        ),
    )

  /** The pages of a listing, or what `items` takes from each. */
  const listed = <A>(o: ListOptions, items: (page: ListPage) => ReadonlyArray<A>): Stream.Stream<A, StoreError> =>
    paged(
      "list",
      "objects",
      o,
      (asked) =>
        Effect.flatMap(
          backend.list({ ...asked, delimiter: o.delimiter }),
          (page) =>
            page.cursor === undefined || page.cursor !== asked.cursor
              ? Effect.succeed({ items: items(page), cursor: page.cursor })
              : Effect.fail(
                new StoreError({
                  reason: "Protocol",
                  detail: "the store gave the same cursor twice, so the list would never end",
                  operation: "list",
                  backend: backend.name,
                  ambiguous: false,
                }),
              ),
        ),
    )

  return {
    pages: (o = {}) => listed(o, (page) => [page]),
    // Not the pages flattened: that is half of Effect's Channel, a twentieth of a Worker.
    list: (o = {}) => listed(o, (page) => page.objects),
    versions: (o = {}) =>
      paged(
        "versions",
        "versions",
        o,
        backend.listVersions &&
          ((asked) =>
            Effect.map(backend.listVersions!(asked), ({ versions, cursor }) => ({ items: versions, cursor }))),
      ),
    uploads: (o = {}) =>
      paged(
        "uploads",
        "uploads",
        o,
        backend.listUploads &&
          ((asked) => Effect.map(backend.listUploads!(asked), ({ uploads, cursor }) => ({ items: uploads, cursor }))),
      ),
  }
}
