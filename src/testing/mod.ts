/**
 * What a program that uses Holdfast can test itself with: backends that fail on purpose.
 *
 * @module
 */
export * from "./faulty.ts"
