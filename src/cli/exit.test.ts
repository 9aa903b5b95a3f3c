import { expect, test } from "bun:test"
import { allReasons } from "../error.ts"
import { exitCodes, fileError } from "./exit.ts"

test("exitCodes has the documented code for every reason", () => {
  const byCode = Map.groupBy(allReasons, (reason) => exitCodes[reason])
  expect(Object.fromEntries([...byCode].map(([code, reasons]) => [code, reasons.toSorted()]))).toEqual({
    1: ["NotFound"],
    2: ["Config", "InvalidInput", "InvalidKey", "RangeNotSatisfiable", "TooLarge", "Unsupported"],
    3: ["Forbidden", "Unauthorized"],
    4: ["AlreadyExists", "Changed", "CommitUnknown", "Conflict", "PreconditionFailed"],
    5: ["Aborted", "NoSpace", "NotModified", "Protocol", "RateLimited", "Timeout", "Unavailable"],
    6: ["Corrupt", "Truncated"],
  })
})

test("fileError() tells a path that cannot be used from a disk that fails", () => {
  expect(fileError("File", 'read "a"', { code: "ENOENT" })).toMatchObject({
    message: 'Cannot read "a": there is no such file or folder',
    exitCode: 2,
  })
  expect(fileError("File", 'write "a"', { code: "ENOSPC" })).toMatchObject({ exitCode: 5 })
  expect(fileError("File", 'write "a"', new Error("EIO: i/o error"))).toMatchObject({
    message: 'Cannot write "a": EIO: i/o error',
    exitCode: 5,
  })
})
