import { defineConfig } from "vitest/config";

// The pages' logic without a browser; the browser tests are in tests/app.
export default defineConfig({ test: { environment: "happy-dom", include: ["tests/*.test.ts"] } });
