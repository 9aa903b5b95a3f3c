import { expect, test } from "bun:test"
import { Clock } from "./clock.ts"

const truth = Date.parse("2026-01-01T12:00:00Z")
const minute = 60_000
const refusal = (
  more: { code?: string | undefined; status?: number; date?: string; age?: string } = {},
): Parameters<Clock["learn"]>[0] => ({
  status: more.status ?? 403,
  code: "code" in more ? more.code : "RequestTimeTooSkewed",
  headers: new Headers({
    date: more.date ?? new Date(truth).toUTCString(),
    ...(more.age === undefined ? {} : { age: more.age }),
  }),
})

test("a clock learns the service's time and keeps it as time goes on", () => {
  let system = truth - 47 * minute
  const clock = new Clock(() => system)
  expect(clock.learn(refusal(), clock.now())).toBe(true)
  expect(clock.now()).toBe(truth)
  system += 10 * minute
  expect(clock.now()).toBe(truth + 10 * minute)
})

test("a clock that was put right while we had its error learns that too", () => {
  let system = truth - 60 * minute
  const clock = new Clock(() => system)
  clock.learn(refusal(), clock.now())
  system = truth
  const signedAt = clock.now()
  expect(signedAt).toBe(truth + 60 * minute)
  expect(clock.learn(refusal(), signedAt)).toBe(true)
  expect(clock.now()).toBe(truth)
})

test("a refusal whose cause is only possibly the time teaches from four minutes on", () => {
  for (
    const [code, status, off, learnt] of [
      ["SignatureDoesNotMatch", 403, 5, true],
      ["SignatureDoesNotMatch", 403, 3, false],
      [undefined, 403, 5, true],
      [undefined, 401, -5, true],
      [undefined, 404, 5, false],
      [undefined, 500, 60, false],
      ["AccessDenied", 403, 60, false],
      ["RequestTimeTooSkewed", 403, 3, true],
      ["RequestExpired", 400, 3, true],
      ["RequestTimeTooSkewed", 403, 0, false],
    ] as const
  ) {
    const clock = new Clock(() => truth + off * minute)
    expect([code, off, clock.learn(refusal({ code, status }), clock.now())]).toEqual([code, off, learnt])
    expect(clock.now()).toBe(learnt ? truth : truth + off * minute)
  }
})

test("odd dates teach nothing: more than a day off, from a cache, not HTTP's format, or none", () => {
  const clock = new Clock(() => truth)
  const far = (ms: number): string => new Date(truth + ms).toUTCString()
  for (
    const more of [
      { date: far(25 * 60 * minute) },
      { date: far(-25 * 60 * minute) },
      { date: far(60 * minute), age: "30" },
      { date: "2026" },
      { date: "2026-01-01T13:00:00Z" },
      { date: "Thu, 99 Jan 2026 13:00:00 GMT" },
      { date: "" },
    ]
  ) expect([more, clock.learn(refusal(more), clock.now())]).toEqual([more, false])
  expect(clock.learn({ status: 403, code: "RequestTimeTooSkewed", headers: new Headers() }, clock.now())).toBe(false)
  expect(clock.now()).toBe(truth)
  expect(clock.learn(refusal({ date: far(23 * 60 * minute) }), clock.now())).toBe(true)
})
