export { default } from '../vite.ts'
