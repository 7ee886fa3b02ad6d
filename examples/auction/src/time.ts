import { useEffect, useState } from 'react'

/** Whole seconds until `end`, counted down; never negative. */
export function useTimeLeft(end: number): number {
  const [now, setNow] = useState(Date.now)
  const over = now >= end
  useEffect(() => {
    setNow(Date.now())
    if (over) return
    const timer = setInterval(() => setNow(Date.now()), 250)
    return () => clearInterval(timer)
  }, [over])
  return Math.max(0, Math.ceil((end - now) / 1000))
}

export function clock(seconds: number): string {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}
