/**
 * Test cases on several services, and the table of what ran where.
 *
 * @module
 */
import { test } from "bun:test"

interface Tally {
  passed: number
  failed: number
  lacking: number
}

const none: Readonly<Tally> = { passed: 0, failed: 0, lacking: 0 }

/** Registers a case; `lacks` says why it cannot run here. */
export type AddCase = (name: string, lacks: string | undefined, run: () => Promise<void>) => void

/** Longest time for a case. Some wait for thousands of requests on a busy machine. */
const limit = 120_000

/** Counts outcomes by service and group. */
export class Table {
  readonly #rows = new Map<string, Map<string, Tally>>()

  /** Registers the cases of a group on a service. */
  group(service: string, group: string): AddCase {
    const row = this.#rows.get(group) ?? new Map<string, Tally>()
    this.#rows.set(group, row)
    const tally: Tally = { ...none }
    row.set(service, tally)
    return (name, lacks, run) => {
      const title = `${service}: ${name}`
      if (lacks !== undefined) {
        tally.lacking++
        return test.skip(`${title} (skipped: ${lacks})`, run)
      }
      test(title, async () => {
        tally.failed++
        await run()
        tally.failed--
        tally.passed++
      }, limit)
    }
  }

  /** The table as text: a line a group, a column a service. */
  toString(): string {
    const services = [...new Set([...this.#rows.values()].flatMap((row) => [...row.keys()]))]
    const line = (first: string, cells: ReadonlyArray<string>): string =>
      [first.padEnd(12), ...cells.map((cell) => cell.padEnd(32))].join("").trimEnd()
    return [
      line("", services),
      ...[...this.#rows].map(([group, row]) => line(group, services.map((service) => show(row.get(service) ?? none)))),
    ].join("\n")
  }
}

const show = ({ passed, failed, lacking }: Tally): string =>
  passed + failed === 0
    ? "not supported"
    : `${passed} passed${failed > 0 ? `, ${failed} FAILED` : ""}${lacking > 0 ? `, ${lacking} not supported` : ""}`
