import { defineConfig } from "vite";

export default defineConfig({
  base: "/",
  // vtk.js reaches xmlbuilder2, which asks for Node's "events"; without the alias the bundle dies while loading.
  resolve: { alias: { events: "events/events.js" } },
  build: {
    outDir: "../src/spinefx/app/pages",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 6000,
  },
  // The server of `npx vite` is for work on the pages alone; what ships is served by spinefx itself.
  server: { proxy: { "/api": "http://127.0.0.1:8765" } },
});
