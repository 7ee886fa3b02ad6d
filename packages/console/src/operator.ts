import { createContext, useContext } from 'react'
import type { Operator } from './api.ts'

export const OperatorContext = createContext<Operator | null>(null)

/** Whether the operator may act, not only look. */
export function useMayAct(): boolean {
  return useContext(OperatorContext)?.rights === 'full'
}
