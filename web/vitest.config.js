import { defineConfig } from "vitest/config";

// The pages' logic without a browser; the browser tests are in tests/app. The files share one environment, which takes
// longer to make than all tests to run: each test cleans up after itself.
export default defineConfig({
  test: { environment: "happy-dom", include: ["tests/*.test.ts"], isolate: false, fileParallelism: false },
});
