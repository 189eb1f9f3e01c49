// SPDX-License-Identifier: Apache-2.0
// Prints what Redocly's linter finds in an OpenAPI document, a line each: node lint.cjs NODE_MODULES DOCUMENT.json
const [, , modules, file] = process.argv;
const { createConfig, lint } = require(`${modules}/@redocly/openapi-core`);

const rules = Object.fromEntries(
  ["operation-operationId", "operation-operationId-unique", "operation-operationId-url-safe", "operation-summary",
    "operation-4xx-response", "operation-2xx-response", "operation-singular-tag", "operation-tag-defined",
    "tag-description", "no-unused-components", "no-ambiguous-paths", "no-identical-paths", "path-params-defined",
    "security-defined", "no-invalid-schema-examples", "no-invalid-media-type-examples", "no-required-schema-properties-undefined",
    "no-server-trailing-slash", "info-license"].map((rule) => [rule, "error"]));
rules["no-server-trailing-slash"] = "off"; // "/" is the server itself

createConfig({ extends: ["recommended"], rules })
  .then((config) => lint({ ref: file, config }))
  .then((problems) => {
    for (const p of problems) console.log(`${p.ruleId}: ${p.message} (${p.location[0].pointer})`);
  });
