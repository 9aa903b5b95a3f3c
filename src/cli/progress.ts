/**
 * How far a transfer has come, on a terminal: bytes, rate, and the time left where the size is known.
 *
 * It is an ornament. Whatever breaks in here, the transfer goes on.
 */
import * as Effect from "effect/Effect"
import process from "node:process"
import type { Progress } from "../save.ts"
import { formatBytes, printable, writeErr } from "./output.ts"

/** Milliseconds that the rate looks back: long enough to be steady, short enough to notice a stall. */
const rateWindow = 5000

/** Measures a rate over the last few seconds. */
export class Rate {
  readonly #samples: Array<{ readonly time: number; readonly bytes: number }> = []

  /** Notes how many bytes have passed in all at a time in milliseconds. */
  add(time: number, bytes: number): void {
    this.#samples.push({ time, bytes })
    while (this.#samples.length > 2 && this.#samples[1]!.time <= time - rateWindow) this.#samples.shift()
  }

  /** Bytes a second, 0 until that can be told. */
  get perSecond(): number {
    const first = this.#samples[0]
    const last = this.#samples.at(-1)
    if (first === undefined || last === undefined || last.time <= first.time) return 0
    return (last.bytes - first.bytes) / (last.time - first.time) * 1000
  }
}

/** A duration in seconds as `m:ss` or `h:mm:ss`. */
export const formatSeconds = (seconds: number): string => {
  const whole = Math.ceil(seconds)
  const two = (n: number): string => String(n).padStart(2, "0")
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`
}

/** `"12.5 MiB of 50 MiB (25 %)  31.2 MiB/s  ETA 0:02"`; without a total only bytes and rate. */
export const formatProgress = ({ bytes, total }: Progress, rate: number): string => {
  const known = total !== undefined && total > 0
  const amount = known
    ? `${formatBytes(bytes)} of ${formatBytes(total)} (${Math.floor(bytes / total * 100)} %)`
    : formatBytes(bytes)
  const left = !known ? "" : `  ETA ${rate > 0 ? formatSeconds((total - bytes) / rate) : "-:--"}`
  return `${amount}  ${formatBytes(rate)}/s${left}`
}

/** What {@link withProgress} shows. */
export interface ProgressOptions {
  /** `"Saving"`, and `"Saved"` once it is done. */
  readonly words: readonly [doing: string, done: string]
  readonly key: string
  readonly total: number | undefined
  /** False: nothing is shown, and nothing is loaded for it. */
  readonly enabled: boolean
}

/** Shows the progress of `transfer` on stderr while it runs, and one line when it has succeeded. */
export const withProgress = <A, E, R>(
  { words: [doing, done], key, total, enabled }: ProgressOptions,
  transfer: (onProgress: ((progress: Progress) => void) | undefined) => Effect.Effect<A, E, R>,
): Effect.Effect<A, E, R> => {
  if (!enabled) return transfer(undefined)
  const name = printable(JSON.stringify(key))
  return Effect.suspend(() => {
    const rate = new Rate()
    const begun = performance.now()
    let now: Progress = { bytes: 0, total }
    rate.add(begun, 0)
    return Effect.acquireUseRelease(
      Effect.sync(() =>
        startSpinner(() => {
          rate.add(performance.now(), now.bytes)
          return `${doing} ${name}  ${formatProgress(now, rate.perSecond)}`
        })
      ),
      () => transfer((progress) => now = { bytes: progress.bytes, total: progress.total ?? total }),
      (stop) => Effect.promise(stop),
    ).pipe(
      Effect.tap(() => {
        const seconds = Math.max(0.001, (performance.now() - begun) / 1000)
        const took = seconds < 60 ? `${seconds.toFixed(1)} s` : formatSeconds(seconds)
        return writeErr(
          `${done} ${name}: ${formatBytes(now.bytes)} in ${took} (${formatBytes(now.bytes / seconds)}/s)\n`,
        )
      }),
    )
  })
}

/** Starts a line on stderr that is redrawn until the returned function is called. */
const startSpinner = (text: () => string): () => Promise<void> => {
  // A terminal that does not say how wide it is (script, docker -t) has 0 columns, on which ora loops for ever.
  process.stderr.columns ||= 80
  // Loaded beside the transfer, which does not wait for its own ornament.
  const started = import("ora").then(({ default: ora }) => {
    // Neither stdin, which may be the data, nor the cursor, which a kill -9 would leave hidden, is touched.
    const spinner = ora({ text: text(), discardStdin: false, hideCursor: false }).start()
    const redraw = setInterval(() => spinner.text = text(), 100)
    return () => {
      clearInterval(redraw)
      spinner.stop()
    }
  })
  return () => started.then((stop) => stop(), () => undefined)
}
