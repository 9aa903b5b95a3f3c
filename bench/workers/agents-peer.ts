/**
 * The scripted S3 service for the measurements of agents' state, empty. Prints its URL, and ends with its standard
 * input.
 *
 * @module
 */
import process from "node:process"
import { makeS3Peer } from "../../src/testing/s3/mod.ts"

const server = await makeS3Peer({ seed: 1 }).listen()
console.log(server.url)
process.stdin.on("end", () => process.exit(0)).resume()
