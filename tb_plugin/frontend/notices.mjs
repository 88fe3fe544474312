// Writes ../static/NOTICES.txt: the licence of each package that a built chunk holds, the worker's among them.
// vite.config.ts leaves the list of modules in node_modules/.bundled.json (Vite's own licence file misses workers).
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const list = new URL("node_modules/.bundled.json", import.meta.url);
const modules = JSON.parse(readFileSync(list, "utf8"));
rmSync(list);
const packages = [...new Set(modules.map(packageOf).filter(Boolean))].sort();

function packageOf(module) {
  const inside = module.split("node_modules/").slice(1).at(-1);
  if (!inside) return null;
  return inside.split("/").slice(0, inside.startsWith("@") ? 2 : 1).join("/");
}

function noticeOf(name) {
  const folder = new URL(`node_modules/${name}/`, import.meta.url).pathname;
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (!file || !existsSync(join(folder, file))) throw new Error(`${name} is bundled and comes without a licence file`);
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
}

const rule = `\n${"-".repeat(80)}\n\n`;
const head = "The page of the Introspect tab holds code of these packages.\n";
writeFileSync(new URL("../static/NOTICES.txt", import.meta.url), [head, ...packages.map(noticeOf)].join(rule));
console.log(`NOTICES.txt: ${packages.join(", ") || "none"}`);
