/**
 * A store in a Hono program: routes that one line mounts, and what handlers of your own can be made of.
 *
 * @module
 */
export { bearerIs } from "./bearer.ts"
export { problemResponse } from "./problem.ts"
export { type ReceiveLimits, saveRequest } from "./receive.ts"
export { loadRequest, objectResponse } from "./respond.ts"
export { type Authorization, storeRoutes, type StoreRoutesOptions, type Verb } from "./routes.ts"
export type { ServedStore } from "./served.ts"
