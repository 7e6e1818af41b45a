import { expect, test } from "vitest";
import type { OperationObject, SchemaObject } from "openapi-typescript";
import openapi from "../openapi.json";
import { inputsOf, kindOf } from "../src/routes";

const schemas = openapi.components.schemas as unknown as Record<string, SchemaObject>;

test("parameters and the fields of a body are listed with their types", () => {
  const operation = openapi.paths["/api/annotate/{participant_id}/lesion"].put as unknown as OperationObject;
  expect(inputsOf(operation, schemas)).toEqual([
    "participant_id (path): string",
    "application/json { box: BoxShape; first_slice: integer; last_slice: integer; level: string; revision: string }",
  ]);
});

test("every route of the description says what it takes in known types", () => {
  const operations = Object.values(openapi.paths).flatMap((methods) => Object.values(methods)) as unknown as OperationObject[];
  expect(operations.length).toBeGreaterThan(30);
  for (const operation of operations) for (const line of inputsOf(operation, schemas)) expect(line).not.toMatch(/anything|undefined/);
});

test.each([
  [{ type: "array", items: { type: "integer" } }, "list of integer"],
  [{ type: "array", prefixItems: [{ type: "string" }, { type: "number" }] }, "(string, number)"],
  [{ anyOf: [{ type: "string" }, { type: "null" }] }, "string or null"],
  [{ $ref: "#/components/schemas/BoxShape" }, "BoxShape"],
  [undefined, "anything"],
])("%j is written %s", (schema, expected) => expect(kindOf(schema as SchemaObject)).toBe(expected));
