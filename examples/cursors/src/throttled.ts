import { useCallback, useEffect, useRef, useState } from 'react'

/** A state that changes at most once a frame and not within `interval` ms; the last value set always arrives. */
export function useThrottled<T>(initial: T, interval: number): [T, (value: T) => void] {
  const [value, setValue] = useState(initial)
  const latest = useRef(initial)
  const changed = useRef(0)
  const frame = useRef(0)

  const set = useCallback(
    (value: T) => {
      latest.current = value
      const show = (now: number) => {
        if (now - changed.current < interval) {
          frame.current = requestAnimationFrame(show)
          return
        }
        frame.current = 0
        changed.current = now
        setValue(latest.current)
      }
      if (!frame.current) frame.current = requestAnimationFrame(show)
    },
    [interval],
  )
  useEffect(
    () => () => {
      cancelAnimationFrame(frame.current)
      frame.current = 0
    },
    [],
  )
  return [value, set]
}
