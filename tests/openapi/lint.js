// SPDX-License-Identifier: Apache-2.0
// A document against the schema of its version of OpenAPI: node lint.js FILE
import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";

const result = await new Validator().validate(JSON.parse(readFileSync(process.argv[2], "utf8")));
if (!result.valid) {
  console.log(JSON.stringify(result.errors, null, 1));
  process.exit(1);
}
