/**
 * What a check of `doctor` says.
 *
 * @module
 */
import { type Reason, StoreError } from "../../error.ts"

/** The outcome of a check. What failed holds its error, and with it the exit code. */
export type Finding =
  | { readonly status: "ok" | "n/a"; readonly detail: string; readonly hint?: string | undefined }
  | { readonly status: "FAIL"; readonly detail: string; readonly hint: string; readonly error: StoreError }

/** It is as it should be; `hint`: and could be better. */
export const ok = (detail: string, hint?: string): Finding => ({ status: "ok", detail, hint })

/** It could not be checked, or does not concern this store. */
export const notHere = (detail: string): Finding => ({ status: "n/a", detail })

/** It is not as it should be. */
export const failed = (error: StoreError): Finding => ({
  status: "FAIL",
  detail: error.detail,
  hint: error.hint,
  error,
})

/** The same for what no call failed of. */
export const wrong = (reason: Reason, detail: string, hint: string): Finding =>
  failed(new StoreError({ reason, detail, hint, operation: "doctor" }))

/** A finding as its line, without the name of the check. */
export const describe = ({ detail, hint }: Finding): string => hint === undefined ? detail : `${detail}; ${hint}`
