interface Props {
  label: string
  value: string
  onChange(value: string): void
}

/** A field that filters what is listed; `/` focuses it. */
export function Search({ label, value, onChange }: Props) {
  return (
    <input
      type="search"
      className="field search"
      aria-label={label}
      placeholder={`${label}  ( / )`}
      maxLength={100}
      value={value}
      onChange={(event) => onChange(event.target.value)}
    />
  )
}
