/** The API page: every route, as the server itself describes it. */

import type { OperationObject, ReferenceObject, SchemaObject } from "openapi-typescript";
import { description } from "./api";
import { element, replace } from "./dom";

type Schema = SchemaObject | ReferenceObject | undefined;
type Schemas = Record<string, SchemaObject | ReferenceObject>;

export async function routes(place: HTMLElement): Promise<void> {
  const { info, paths = {}, components } = await description();
  const all = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation: operation as OperationObject })),
  );
  replace(
    place,
    element("h1", {}, "API"),
    element(
      "p",
      {},
      `${all.length} routes of ${info.title} ${info.version}, also as `,
      element("a", { href: "/api/openapi.json" }, "OpenAPI in JSON"),
      ". Requests that change something need the Origin header of this server. Beyond this machine, every request needs a token.",
    ),
    element(
      "table",
      { class: "wide" },
      element("caption", {}, "Routes"),
      element("thead", {}, element("tr", {}, ...["Method", "Path", "Purpose", "Takes"].map((title) => element("th", { scope: "col" }, title)))),
      element(
        "tbody",
        {},
        ...all.map(({ path, method, operation }) =>
          element(
            "tr",
            {},
            element("td", {}, method),
            element("td", {}, element("code", {}, path)),
            element("td", {}, operation.description ?? operation.summary),
            element("td", {}, ...inputsOf(operation, components?.schemas ?? {}).map((line) => element("div", {}, line))),
          ),
        ),
      ),
    ),
  );
}

/** What an operation takes, one line per parameter, and one per body. */
export function inputsOf({ parameters = [], requestBody }: OperationObject, schemas: Schemas): string[] {
  const lines = parameters.flatMap((one) => ("name" in one && one.in !== "cookie" && one.in !== "header" ? [`${one.name} (${one.in}): ${kindOf(one.schema)}`] : []));
  const content = requestBody && "content" in requestBody ? requestBody.content : {};
  for (const [type, media] of Object.entries(content)) {
    const schema = "schema" in media ? media.schema : undefined;
    const body = (schema && "$ref" in schema ? schemas[nameOf(schema)] : schema) as { properties?: Schemas; required?: string[] } | undefined;
    const fields = Object.entries(body?.properties ?? {}).map(([name, field]) => `${name}${body?.required?.includes(name) ? "" : " (optional)"}: ${kindOf(field)}`);
    lines.push(`${type} { ${fields.join("; ")} }`);
  }
  return lines;
}

function nameOf({ $ref }: ReferenceObject): string {
  return $ref.split("/").at(-1)!;
}

/** The type of a value, in one word or a few. */
export function kindOf(schema: Schema): string {
  if (!schema) return "anything";
  if ("$ref" in schema) return nameOf(schema);
  if ("anyOf" in schema && schema.anyOf) return schema.anyOf.map(kindOf).join(" or ");
  const { type, items, prefixItems } = schema as { type?: string; items?: Schema; prefixItems?: Schema[] };
  if (prefixItems) return `(${prefixItems.map(kindOf).join(", ")})`;
  return type === "array" ? `list of ${kindOf(items)}` : (type ?? "anything");
}
