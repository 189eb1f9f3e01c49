// SPDX-License-Identifier: Apache-2.0
/*
 * What the schema of a definition says about a place in one: its fields, values, bounds and texts.
 * Where the schema leaves a choice (anyOf), what is already written decides, as far as it does.
 */

const isObject = (v) => v !== null && typeof v === "object" && !Array.isArray(v);
const isIndex = (part) => /^\d+$/.test(String(part));

export class Schema {
    constructor(document) {
        this.document = document;
    }

    /* A schema without $ref at its top; what stands beside the $ref is kept. */
    resolve(schema) {
        for (let n = 0; schema?.$ref && n < 20; n++) {
            const { $ref, ...beside } = schema;
            schema = { ...$ref.slice(2).split("/").reduce((s, part) => s?.[part], this.document), ...beside };
        }
        return schema ?? {};
    }

    /* The schemas that a value may follow, all choices spread out, narrowed by the value. */
    choices(schema, value) {
        schema = this.resolve(schema);
        const listed = schema.anyOf ?? schema.oneOf;
        if (!listed) return [schema];
        const all = listed.flatMap((s) => this.choices(s, value));
        const fitting = all.filter((s) => this.mayBe(s, value));
        return fitting.length > 0 ? fitting : all;
    }

    mayBe(schema, value) {
        if (value === undefined) return true;
        if (schema.type === "array" || schema.type === "object") {
            if (schema.type === "array" ? !Array.isArray(value) : !isObject(value)) return false;
            const kind = this.resolve(schema.properties?.type);
            if (kind.const === undefined) return true;
            return value.type === undefined ? !(schema.required ?? []).includes("type") : value.type === kind.const;
        }
        return true;
    }

    /* The schemas of the place that a path leads to in a definition (a value, perhaps unfinished). */
    at(path, definition) {
        if (path[0] === "sweep" && path.length > 1) return this.inSweep(path.slice(1), definition);
        return this.walk([this.document], path, definition);
    }

    walk(schemas, path, value) {
        let here = schemas.flatMap((s) => this.choices(s, value));
        for (const part of path) {
            const below = value === undefined || value === null ? undefined : value[part];
            here = here.flatMap((s) => {
                if (isIndex(part) && s.items) return this.choices(s.items, below);
                const own = s.properties && Object.hasOwn(s.properties, part) ? s.properties[part] : undefined;
                const other = isObject(s.additionalProperties) ? s.additionalProperties : undefined;
                return own || other ? this.choices(own ?? other, below) : [];
            });
            value = below;
        }
        return here;
    }

    /* Paths are names there: "training.seed" takes values that the schema allows at training.seed. */
    inSweep(path, definition) {
        if (isIndex(path[0])) path = path.slice(1);
        const grid = this.document.$defs.grid;
        const dotted = (name, rest) => this.at([...name.split("."), ...rest], definition);
        const [first, second, third] = path;
        if (path.length === 0) return this.choices(grid);
        if (first === "list" && path.length > 2) return dotted(third, path.slice(3));
        if (first === "random" && second === "values" && path[3] === "choice" && path.length > 4) return dotted(third, path.slice(5));
        if (first === "random" || first === "list") return this.walk([grid], path);
        if (path.length > 1) return dotted(first, path.slice(2));
        return dotted(first, []).slice(0, 1).map((s) => ({
            type: "array", minItems: 1, items: s, description: `One run for each of these values of ${first}. ${s.description ?? ""}`,
        }));
    }

    /* Whether names at this object are dotted paths. */
    takesPaths(path) {
        const [first, ...rest] = path;
        if (first !== "sweep") return false;
        const inner = isIndex(rest[0]) ? rest.slice(1) : rest;
        return inner.length === 0 || (inner[0] === "list" && inner.length === 2) || (inner[0] === "random" && inner[1] === "values" && inner.length === 2);
    }

    /* All fields below, as [dotted path, schema]; arrays by the places that the definition has. */
    leaves(definition, schemas = [this.document], prefix = "", value = definition, found = new Map()) {
        for (const schema of schemas.flatMap((s) => this.choices(s, value))) {
            const below = schema.properties ? Object.entries(schema.properties)
                : schema.items && Array.isArray(value) && value.some(isObject) ? value.map((_, i) => [String(i), schema.items]) : [];
            for (const [name, inner] of below) {
                if (prefix === "" && ["name", "tags", "sweep", "fork"].includes(name)) continue;
                const path = prefix === "" ? name : `${prefix}.${name}`;
                if (!found.has(path)) found.set(path, this.resolve(inner));
                this.leaves(definition, [inner], path, value?.[name], found);
            }
        }
        return found;
    }

    /* Names that an object may have: [{name, schema, required}]. */
    fields(path, definition) {
        const found = new Map();
        for (const schema of this.at(path, definition)) {
            for (const [name, inner] of Object.entries(schema.properties ?? {})) {
                const required = (schema.required ?? []).includes(name);
                if (!found.has(name)) found.set(name, { name, schema: this.resolve(inner), required });
            }
        }
        if (this.takesPaths(path)) {
            const own = [...found.values()];
            const paths = [...this.leaves(definition)].map(([name, schema]) => ({ name, schema, required: false }));
            return [...paths, ...own];
        }
        return [...found.values()];
    }

    /* Values that can be named: [{value, note}]. */
    values(path, definition) {
        const found = new Map();
        const put = (value, note) => {
            const key = JSON.stringify(value);
            if (!found.has(key)) found.set(key, { value, note });
        };
        for (const schema of this.at(path, definition)) {
            if (schema.default !== undefined) put(schema.default, "default");
            for (const value of schema.enum ?? []) put(value, "");
            if (schema.const !== undefined) put(schema.const, "");
            if (schema.type === "boolean") [true, false].forEach((v) => put(v, ""));
            if (schema.type === "object") put(this.skeleton(schema), schema.description ?? "");
            if (schema.type === "array" && !schema.default) put([], "");
        }
        return [...found.values()];
    }

    /* The least that an object needs. */
    skeleton(schema) {
        const value = {};
        for (const name of schema.required ?? []) {
            const field = this.choices(schema.properties[name])[0];
            value[name] = this.example(field);
        }
        return value;
    }

    example(field) {
        if (field.const !== undefined) return field.const;
        if (field.default !== undefined) return field.default;
        if (field.enum) return field.enum[0];
        if (field.type === "object") return this.skeleton(field);
        if (field.type === "array") return field.minItems ? [this.example(this.choices(field.items ?? {})[0])] : [];
        if (field.type === "string") return "";
        if (field.type === "boolean") return true;
        return (field.minimum ?? 0) <= 1 && (field.maximum ?? 1) >= 1 && (field.exclusiveMaximum ?? 2) > 1 ? 1 : field.minimum ?? 0.5;
    }
}

/* "integer from 1 to 65536", "number > 0", "one of relu, tanh": what a schema allows, in words. */
export function words(schema) {
    if (schema.const !== undefined) return JSON.stringify(schema.const);
    if (schema.enum) return `one of ${schema.enum.map((v) => (typeof v === "string" ? v : JSON.stringify(v))).join(", ")}`;
    switch (schema.type) {
        case "boolean": return "true or false";
        case "integer":
        case "number": return [schema.type, range(schema)].filter(Boolean).join(" ");
        case "string": return schema.minLength === schema.maxLength && schema.minLength ? `text of ${schema.minLength} characters`
            : schema.maxLength ? `text of ${schema.minLength ?? 0} to ${schema.maxLength} characters` : "text";
        case "array": return "list";
        case "object": return "object";
        default: return schema.anyOf || schema.oneOf ? "one of several kinds" : "any value";
    }
}

function range(s) {
    const lower = s.minimum !== undefined ? [">=", s.minimum] : s.exclusiveMinimum !== undefined ? [">", s.exclusiveMinimum] : null;
    const upper = s.maximum !== undefined ? ["<=", s.maximum] : s.exclusiveMaximum !== undefined ? ["<", s.exclusiveMaximum] : null;
    if (lower && upper && lower[0] === ">=" && upper[0] === "<=") return `from ${number(lower[1])} to ${number(upper[1])}`;
    return [lower, upper].filter(Boolean).map(([sign, n]) => `${sign} ${number(n)}`).join(" and ");
}

const number = (n) => (n === Number.MAX_SAFE_INTEGER + 1 ? "2^53" : Math.abs(n) >= 1e15 ? n.toExponential() : String(n));
