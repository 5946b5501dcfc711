import { defineConfig } from "vite";

export default defineConfig({
  base: "/viewer/",
  build: {
    outDir: "../dist/viewer",
    emptyOutDir: true,
    target: "es2022",
    // The page's policy allows no inline anything, and the server answers with an ETag: fixed names keep the
    // committed build's history readable.
    assetsInlineLimit: 0,
    modulePreload: false,
    rolldownOptions: {
      output: {
        entryFileNames: "assets/viewer.js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/viewer[extname]",
      },
    },
  },
});
