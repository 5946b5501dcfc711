import { defineConfig } from "vite";

export default defineConfig({
  base: "/console/",
  // For `npm run dev`: the API of a service that runs here.
  server: { proxy: Object.fromEntries(["/accounts", "/Accounts", "/healthz", "/viewer"].map((path) => [path, "http://127.0.0.1:8080"])) },
  build: {
    outDir: "../dist/console",
    emptyOutDir: true,
    target: "es2022",
    // As in the viewer: no inline anything, and names that keep the committed build's history readable.
    assetsInlineLimit: 0,
    modulePreload: false,
    rolldownOptions: {
      input: ["index.html", "latency.html"],
      output: {
        entryFileNames: "assets/[name].js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/console[extname]",
      },
    },
  },
});
