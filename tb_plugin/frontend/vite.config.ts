import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

/** Notes which modules were built into a chunk, for notices.mjs. The worker is a build of its own, so the list grows. */
function noteModules(): Plugin {
  const list = "node_modules/.bundled.json";
  return {
    name: "note-modules",
    generateBundle(_, bundle) {
      const known = existsSync(list) ? (JSON.parse(readFileSync(list, "utf8")) as string[]) : [];
      const found = Object.values(bundle).flatMap((chunk) => (chunk.type === "chunk" ? Object.keys(chunk.modules) : []));
      writeFileSync(list, JSON.stringify([...new Set([...known, ...found])].sort()));
    },
  };
}

/**
 * TensorBoard's policy forbids inline scripts and data: modules, so nothing is inlined and each chunk is a file of its own.
 * `index.js` keeps its name and its export (`render`): TensorBoard imports it.
 */
export default defineConfig({
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [noteModules()],
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    assetsDir: "",
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    modulePreload: false,
    sourcemap: false,
    reportCompressedSize: false,
    rolldownOptions: {
      input: { index: "src/index.tsx" },
      preserveEntrySignatures: "exports-only",
      output: {
        entryFileNames: "[name].js",
        chunkFileNames: "[name]-[hash].js",
        assetFileNames: "[name]-[hash][extname]",
      },
    },
  },
  worker: {
    format: "es",
    plugins: () => [noteModules()],
    rolldownOptions: { output: { entryFileNames: "[name]-[hash].js" } },
  },
  test: { include: ["test/**/*.test.ts"], environment: "node", testTimeout: 60_000 },
} as Parameters<typeof defineConfig>[0]);
