/**
 * An object store whose only writer we are, for stores that cannot create under a condition, such as WebDAV: whether
 * something is there is looked up before the write. With a second writer that would lose one of the two, which is why
 * somebody has to say that there is none.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"

/** The store, with `ifNoneMatch` on saves where it has no such thing by itself. */
export const asSoleWriter = (store: ObjectStoreService): ObjectStoreService => {
  if (store.capabilities.conditional.create) return store
  return {
    ...store,
    save: (key, source, options = {}) => {
      const { ifNoneMatch, ...rest } = options
      if (ifNoneMatch === undefined) return store.save(key, source, rest)
      const taken = new StoreError({
        reason: "AlreadyExists",
        detail: "there is an object of that name",
        operation: "save",
        key,
        backend: store.backend,
      })
      return Effect.flatMap(
        store.exists(key),
        (there) => there ? Effect.fail(taken) : store.save(key, source, rest),
      )
    },
  }
}
