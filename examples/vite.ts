/** How every example is served while you work on it, and built for `aerostack dev`. */
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

const server = process.env.AEROSTACK_URL ?? 'http://127.0.0.1:8787'

export default defineConfig({
  base: './', // the build works under whatever path the server gives it
  plugins: [react()],
  server: {
    // The page and the server look like one origin, as they do when `aerostack dev` serves the built page.
    proxy: { '/api': { target: server, ws: true }, '/v1': server, '/healthz': server },
  },
  build: {
    assetsInlineLimit: 0, // a strict content security policy has no room for data: addresses
    chunkSizeWarningLimit: 800, // Tiptap
  },
})
