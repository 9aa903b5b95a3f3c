/**
 * Numbers as Persist writes and reads them.
 *
 * Persist hashes JSON in the form that Rust's `serde_json` prints: whole numbers exactly within 64 bits, everything
 * else as the shortest decimal of a double, always with a fraction or an exponent. JavaScript's numbers cannot tell
 * `1` from `1.0` nor hold 2^63, so a literal is never turned into a number here unless it is a double anyway.
 *
 * @module
 */

const grammar = /^(-?)(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/

const maxUnsigned = (1n << 64n) - 1n
const minSigned = -(1n << 63n)

/** Literals of up to this many digits are whole numbers within 64 bits without a closer look. */
const plainDigits = 18

/**
 * The normal form of a JSON number, or `undefined` if `literal` is none or too large for a double, which Persist
 * refuses as well.
 */
export const normalNumber = (literal: string): string | undefined => {
  // What JavaScript prints with a fraction and without an exponent is what it would become.
  if (
    literal.includes(".") && !/[eE]/.test(literal) && String(Number(literal)) === literal && !/^-?0\.0000/.test(literal)
  ) {
    return literal
  }
  const match = grammar.exec(literal)
  if (match === null) return undefined
  const [, sign, whole, fraction, exponent] = match
  if (fraction === undefined && exponent === undefined) {
    if (literal === "-0") return "-0.0"
    if (whole!.length <= plainDigits) return literal
    const value = BigInt(literal)
    if (sign === "" ? value <= maxUnsigned : value >= minSigned) return literal
  }
  const value = Number(literal)
  return Number.isFinite(value) ? normalDouble(value) : undefined
}

/** A double in its shortest form: `1.0`, `0.00001`, `1e-6`, `1e16`, `-0.0`. */
export const normalDouble = (value: number): string => {
  if (Object.is(value, -0)) return "-0.0"
  if (value === 0) return "0.0"
  const [mantissa, power] = Math.abs(value).toExponential().split("e") as [string, string]
  const digits = mantissa.replace(".", "")
  const sign = value < 0 ? "-" : ""
  // Digits before the decimal point.
  const point = Number(power) + 1
  if (point > 16 || point <= -5) {
    return `${sign}${digits[0]}${digits.length > 1 ? `.${digits.slice(1)}` : ""}e${point - 1}`
  }
  if (point <= 0) return `${sign}0.${"0".repeat(-point)}${digits}`
  if (digits.length <= point) return `${sign}${digits}${"0".repeat(point - digits.length)}.0`
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`
}

/** Decimals of up to this many characters have at most 15 digits and are scaled exactly: every parser reads them alike. */
const shortDecimal = 16

/**
 * The double that Persist hashes for a number in normal form. Its parser collects the digits in 64 bits and scales them
 * by one power of ten, so one double of 17 digits in ten comes out a unit beside the one that was written. Persist
 * hashes what it has read; whoever wants the same hash has to read as it does.
 */
export const persistDouble = (normal: string): string => {
  const e = normal.indexOf("e")
  if (e < 0 && normal.length <= shortDecimal) return normal
  const mantissa = e < 0 ? normal : normal.slice(0, e)
  const point = mantissa.indexOf(".")
  if (e < 0 && point < 0) return normal
  // A double in its shortest form has 17 digits at most, so these are the digits that such a parser collects.
  const digits = point < 0 ? mantissa : mantissa.slice(0, point) + mantissa.slice(point + 1)
  let scale = (e < 0 ? 0 : Number(normal.slice(e + 1))) - (point < 0 ? 0 : mantissa.length - point - 1)
  let read = Number(digits)
  for (; scale < -308; scale += 308) read /= 1e308
  read = scale < 0 ? read / powers[-scale]! : read * powers[scale]!
  // Beyond the largest double Persist refuses the whole snapshot.
  return read === Number(normal) || !Number.isFinite(read) ? normal : normalDouble(read)
}

const powers = (() => {
  const all = new Float64Array(309)
  for (let i = 0; i < all.length; i++) all[i] = Number(`1e${i}`)
  return all
})()
