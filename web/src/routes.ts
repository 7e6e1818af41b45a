/** The addresses that programs may use, as the server itself describes them. */

import { get } from "./api";
import { element, replace } from "./dom";

interface Operation {
  summary?: string;
  parameters?: { name: string; in: string; required?: boolean; schema?: Schema }[];
  requestBody?: { content: Record<string, { schema?: Schema }> };
}

interface Schema {
  type?: string;
  title?: string;
  $ref?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
}

interface Description {
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  components?: { schemas?: Record<string, Schema> };
}

export async function routes(place: HTMLElement): Promise<void> {
  const found = await get<Description>("/api/openapi.json");
  const all = Object.entries(found.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );
  const schemas = found.components?.schemas ?? {};
  const head = ["Method", "Address", "What it is", "Takes"];
  replace(
    place,
    element("h1", {}, "Addresses for programs"),
    element(
      "p",
      {},
      `${all.length} addresses of ${found.info.title} ${found.info.version}; the same as `,
      element("a", { href: "/api/openapi.json" }, "OpenAPI in JSON"),
      ". A change needs the Origin header of this server; beyond this machine everything needs a token.",
    ),
    element(
      "table",
      { class: "wide" },
      element("caption", {}, "Routes"),
      element("thead", {}, element("tr", {}, ...head.map((words) => element("th", { scope: "col" }, words)))),
      element(
        "tbody",
        {},
        ...all.map(({ path, method, operation }) =>
          element(
            "tr",
            {},
            element("td", {}, method),
            element("td", {}, element("code", {}, path)),
            element("td", {}, operation.summary ?? ""),
            element("td", {}, ...takes(operation, schemas)),
          ),
        ),
      ),
    ),
  );
}

function takes({ parameters = [], requestBody }: Operation, schemas: Record<string, Schema>): Node[] {
  const said = parameters.filter((one) => one.in !== "cookie" && one.in !== "header").map((one) => `${one.name} (${one.in}): ${kind(one.schema)}`);
  for (const [type, { schema }] of Object.entries(requestBody?.content ?? {})) {
    const body = schema?.$ref ? schemas[schema.$ref.split("/").at(-1)!] : schema;
    const fields = Object.entries(body?.properties ?? {}).map(([name, one]) => `${name}${body?.required?.includes(name) ? "" : " (optional)"}: ${kind(one)}`);
    said.push(`${type} { ${fields.join("; ")} }`);
  }
  return said.map((words) => element("div", {}, words));
}

function kind(schema: Schema | undefined): string {
  if (!schema) return "anything";
  if (schema.$ref) return schema.$ref.split("/").at(-1)!;
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  return schema.type === "array" ? `list of ${kind(schema.items)}` : (schema.type ?? "anything");
}
