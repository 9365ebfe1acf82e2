// The app's scripts are concatenated by app/components/_register.py and have no exports; this gives tests what they name.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import vm from "node:vm";

export const APP = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "app");

// files: paths in app/; names: what they declare at the top; world: stand-ins for what a browser has.
export function load(files, names, world = {}) {
  const text = files.map((file) => readFileSync(join(APP, file), "utf-8")).join("\n");
  const script = text.replace(/^export default /gm, "globalThis.component = ");
  const context = vm.createContext({ console, performance, URL, history: { pushState() {} }, ...world });
  return vm.runInContext(`${script}\n;({ ${names.join(", ")} })`, context);
}
