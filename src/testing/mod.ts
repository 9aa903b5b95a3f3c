/**
 * What a program that uses Holdfast can test itself with: backends that fail on purpose, and an S3 service in this
 * process that checks signatures and does what its script says.
 *
 * @module
 */
export * from "./faulty.ts"
export * from "./s3/mod.ts"
