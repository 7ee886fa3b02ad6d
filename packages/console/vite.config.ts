/** How the console is served while you work on it, and built for the server's `/console/`. */
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

const server = process.env.AEROSTACK_URL ?? 'http://127.0.0.1:8787'

export default defineConfig({
  base: './',
  plugins: [react()],
  server: { proxy: { '/console/api': { target: server, ws: true } } },
  build: { assetsInlineLimit: 0, modulePreload: false }, // the policy of the page allows nothing inline
})
