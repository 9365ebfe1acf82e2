// Each component's script as the browser gets it: _base.js, what it shares with others, and its own. Two of these files
// may have come to declare the same name, which no other test sees.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import vm from "node:vm";
import { APP } from "./load.js";

// The files of each component that a module registers; null for a module that registers none.
function componentsOf(module) {
  const text = readFileSync(module, "utf-8");
  const constants = Object.fromEntries([...text.matchAll(/^(_\w+) = "([^"]+)"$/gm)].map((found) => found.slice(1)));
  const calls = text.split(/= register\(/).slice(1);
  return calls.map((call) => {
    const own = /with_name\("(\w+)\.py"\)/.exec(call.split("\n\n")[0])?.[1];
    const path = own ? join(dirname(module), `${own}.js`) : module.replace(/\.py$/, ".js");
    const shared = /shared=\(([^)]*)\)/.exec(call)?.[1] ?? "";
    const names = [...shared.matchAll(/"([^"]+)"|(_\w+)/g)].map(([, name, constant]) => name ?? constants[constant]);
    return ["components/_base.js", ...names.filter((name) => name.endsWith(".js")), relative(APP, path)];
  });
}

const modules = readdirSync(APP, { recursive: true }).filter((file) => file.endsWith(".py"));
const components = modules.flatMap((file) => componentsOf(join(APP, file)));

test("components are found", () => {
  assert.ok(components.length > 10);
});

for (const files of components) {
  test(`${files.at(-1)} declares no name twice`, () => {
    const text = files.map((file) => readFileSync(join(APP, file), "utf-8")).join("\n");
    // In a block of a strict script, as in a module, two declarations of one name are an error.
    new vm.Script(`"use strict"; {${text.replace("export default ", "")}}`);
  });
}
