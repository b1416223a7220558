// Bundles src/ into dist/: `npm ci && npm run build`. The same sources give the same bytes. `--out DIR` builds elsewhere.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv.includes("--out") ? process.argv[process.argv.indexOf("--out") + 1] : join(here, "dist");
mkdirSync(out, { recursive: true });
const made = await build({
  entryPoints: [join(here, "src/graph.jsx")], absWorkingDir: here, bundle: true, write: false, outdir: out, entryNames: "graph",
  format: "iife", minify: true, jsx: "automatic", target: "es2022", define: { "process.env.NODE_ENV": '"production"' }, legalComments: "none",
});
for (const file of made.outputFiles) writeFileSync(join(out, file.path.endsWith(".css") ? "graph.css" : "graph.js"), file.contents);

/** SHA-256 over names and contents of what the bundle is made of; tests/ui/test_graph_bundle.py computes the same. */
const sources = [...readdirSync(join(here, "src")).filter((name) => !name.endsWith(".test.js")).map((name) => `src/${name}`), "package.json", "package-lock.json"].sort();
const hash = createHash("sha256");
for (const name of sources) hash.update(`${name}\n`).update(readFileSync(join(here, name))).update("\n");
writeFileSync(join(out, "sources.sha256"), `${hash.digest("hex")}\n`);
