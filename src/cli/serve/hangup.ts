/**
 * SIGHUP as servers have it: read again what you were told, and go on. The verbs that end take it as a signal to stop.
 *
 * What a maintainer must keep: at no moment is nobody listening, since the system would then end the process.
 *
 * @module
 */
import process from "node:process"

/**
 * From now on SIGHUP runs `work`, which must not reject, and does nothing else. Signals that come while it runs make it
 * run again afterwards, so that what it read last is what holds. Returns what puts the signal back to what it was.
 */
export const onHangup = (work: () => Promise<void>): () => void => {
  const others = process.listeners("SIGHUP")
  let last = Promise.resolve()
  const handle = (): void => {
    last = last.then(work)
  }
  process.on("SIGHUP", handle)
  for (const other of others) process.off("SIGHUP", other)
  return () => {
    for (const other of others) process.on("SIGHUP", other)
    process.off("SIGHUP", handle)
  }
}
