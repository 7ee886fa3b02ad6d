import { useTyping } from './typing.ts'

export function Typists({ topic }: { topic: string }) {
  const names = useTyping(topic)
  const verb = names.length > 1 ? 'are' : 'is'
  return (
    <p className="typists label" aria-live="polite">
      {names.length > 0 && `${new Intl.ListFormat('en').format(names)} ${verb} typing…`}
    </p>
  )
}
