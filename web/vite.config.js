import { defineConfig } from "vite";

export default defineConfig({
  base: "/",
  // vtk.js depends on xmlbuilder2, which needs Node's "events"; without the alias the bundle fails to load.
  resolve: { alias: { events: "events/events.js" } },
  build: {
    outDir: "../src/spinefx/app/pages",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 6000,
  },
  // For `npx vite` while working on the pages; spinefx itself serves what ships.
  server: { proxy: { "/api": "http://127.0.0.1:8765" } },
});
