import type { Finding, SettingLine } from '../views.ts'

/** What was found, in order, and the line of the settings that decides. */
export function Findings({ findings, setting }: { findings: Finding[]; setting: SettingLine | null }) {
  return (
    <>
      <ol className="findings">
        {findings.map((each, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: findings are shown in their order and never move
          <li key={index}>
            <span className="label">{each.code.replaceAll('_', ' ')}</span>
            <span>{each.sentence}</span>
          </li>
        ))}
      </ol>
      {setting && (
        <p className="setting">
          The setting that decides:{' '}
          <code>{`[[${setting.section}]] number ${setting.number}: ${setting.line}`}</code>
        </p>
      )}
    </>
  )
}
