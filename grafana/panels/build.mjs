// Bundles the page into a directory, given as OUT; with --tests the tests too, for Node.
import { build } from "esbuild";
import { cp, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.env.OUT ?? join(here, "dist");

await mkdir(out, { recursive: true });
await build({
  entryPoints: { panels: join(here, "src/main.tsx") },
  outdir: out,
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  // React and Grafana's libraries ask for it; a bundler for the web has to answer.
  define: { "process.env.NODE_ENV": '"production"', global: "globalThis" },
  loader: { ".svg": "dataurl", ".ttf": "dataurl", ".woff2": "dataurl" },
  logLevel: "warning",
});
await cp(join(here, "src/index.html"), join(out, "index.html"));
// The libraries load their icons from here by themselves.
await cp(join(here, "node_modules/@grafana/ui/dist/public/img/icons"), join(out, "public/build/img/icons"), { recursive: true });
// Likewise their font.
const fonts = { "400-normal": "Regular", "500-normal": "Medium", "400-italic": "Italic", "500-italic": "MediumItalic" };
for (const [style, name] of Object.entries(fonts)) {
  const file = join(here, `node_modules/@fontsource/inter/files/inter-latin-${style}.woff2`);
  await cp(file, join(out, `public/fonts/inter/Inter-${name}.woff2`));
}
if (process.argv.includes("--tests")) {
  await build({
    entryPoints: [join(here, "tests/panels.test.ts")],
    outdir: join(out, "tests"),
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    logLevel: "warning",
  });
}
