// SPDX-License-Identifier: Apache-2.0
// The document on standard input against the schema of its version of OpenAPI.
import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";

const result = await new Validator().validate(JSON.parse(readFileSync(0, "utf8")));
if (!result.valid) {
  console.log(JSON.stringify(result.errors, null, 1));
  process.exit(1);
}
