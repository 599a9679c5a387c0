/** The compiler takes the programs of docs/guides/node.md in its strict mode. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import ts from "typescript";

const GUIDE = fileURLToPath(new URL("../../../docs/guides/node.md", import.meta.url));
const OPTIONS = {
  noEmit: true,
  strict: true,
  noImplicitAny: false, // JavaScript has no types for the parameters of a function
  skipLibCheck: true,
  experimentalDecorators: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  types: ["node"],
};

/** What a program leaves to its reader. */
const PRELUDE = `
  declare const introspector: import("@authsvc/sdk").Introspector;
  declare const token: string;
  declare function deleteOrders(): Promise<never>;
  declare function serve(sub: string): void;
  declare function tryLater(afterS: number | undefined): void;
  declare function serveChanges(response: unknown): void;
`;
const NEST = 'import { Controller, Delete, Get, Req, UseGuards } from "@nestjs/common"; import { Request } from "express";';

function withPrelude(program) {
  if (program.includes("/nest")) return `${NEST} declare const introspector: import("@authsvc/sdk").Introspector; ${program}`;
  if (program.includes("express()")) return program;
  let app = "Express";
  let from = "express";
  if (program.includes("/fastify")) [app, from] = ["FastifyInstance", "fastify"];
  if (program.includes("/hono")) [app, from] = ["Hono", "hono"];
  return `${PRELUDE} declare const app: import("${from}").${app}; import "@authsvc/sdk/express"; ${program}`;
}

describe("docs/guides/node.md", () => {
  const blocks = [...readFileSync(GUIDE, "utf8").matchAll(/^```(?:js|text)[^\n]*\n([^]*?)^```$/gm)];
  const programs = new Map(
    blocks.map(([, program], at) => [fileURLToPath(new URL(`guide-${at}.mts`, import.meta.url)), withPrelude(program)]),
  );
  const host = ts.createCompilerHost(OPTIONS);
  const { fileExists, readFile } = host;
  host.fileExists = (name) => programs.has(name) || fileExists(name);
  host.readFile = (name) => programs.get(name) ?? readFile(name);
  host.getSourceFile = (name, version) => {
    const text = host.readFile(name);
    return text === undefined ? undefined : ts.createSourceFile(name, text, version);
  };
  const compiled = ts.createProgram([...programs.keys()], OPTIONS, host);
  for (const [at, name] of [...programs.keys()].entries()) {
    test(`${at}: ${blocks[at][1].split("\n")[0]}`, () => {
      const found = ts.getPreEmitDiagnostics(compiled, compiled.getSourceFile(name));
      assert.deepEqual(found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n")), []);
    });
  }
  assert(programs.size >= 8);
});
