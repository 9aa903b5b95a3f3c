import { addSuite } from "./testing.ts"
import { suite } from "./execution-testing.ts"

addSuite(suite)
