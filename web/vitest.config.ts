import { defineConfig } from "vitest/config";

export default defineConfig({ test: { include: ["sdk/test/**/*.test.ts", "viewer/test/**/*.test.ts", "console/test/**/*.test.ts"] } });
