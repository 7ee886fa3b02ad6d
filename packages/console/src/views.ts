/** The views of the server, as src/aerostack_realtime/gateway/console/views.py makes them. */

export interface Latency {
  counts: number[]
  bounds: number[]
}

export interface Figures {
  at: number
  upSeconds: number
  cpuSeconds: number
  connections: number
  subscriptions: number
  channels: number
  tables: number
  members: number
  logBytes: number
  events: number
  deliveries: number
  bytesOut: number
  connects: number
  errors: number
  slow: number
  gaps: number
  publishAck: Latency
  persistedAck: Latency
  changeDelivery: Latency
  loopLag: Latency
}

export interface NodeView {
  node: string
  name: string
  version: string
  lagMs: number
  keeper: boolean
  figures: Figures | null
}

export interface Overview {
  nodes: NodeView[]
  node: string
}

export interface Page<Row> {
  total: number
  rows: Row[]
}

export interface ChannelRow {
  topic: string
  name: string
  table: boolean
  subscribers: number
  members: number
}

export interface ConnectionRow {
  id: string
  user: string | null
  kind: string
  address: string
  node: string
  at: number
  topics: number
  waiting: number
  behind: number
  catchingUp: boolean
}

export type NodeNames = Record<string, string>

export interface Connections extends Page<ConnectionRow> {
  nodes: NodeNames
}

export interface StreamRow {
  topic: string
  id: string
  event: string
  userId: string | null
  since: number
  n: number
  bytes: number
  persist: boolean
}

export interface ChannelView {
  topic: string
  name: string
  table: string | null
  watched: boolean
  subscribers: number
  connections: ConnectionRow[]
  members: { userId: string; state: unknown; since: number }[]
  log: { events: number; bytes: number } | null
  rule: string
  streams: StreamRow[]
  history: { id: string; event: string; data: unknown; userId: string | null; timestamp: number }[]
}

export interface Period {
  topic: string
  at: number
  filter: Record<string, unknown> | null
  presence: boolean
  slow: string
  recovered: boolean | null
  ended_at: number
  ending: string | null
}

export interface ConnectionView {
  row: ConnectionRow | null
  topics: string[]
  /** How many events it is behind, by topic; null where only the database knows. */
  lacks: Record<string, number | null>
  nodes: NodeNames
  record: {
    id: string
    kind: string
    user: string | null
    claims: Record<string, unknown>
    at: number
    periods: Period[]
    notes: { at: number; kind: string; topic: string; code: string; message: string; count: number }[]
    closed_at: number
    close_code: number
    close_reason: string
    waiting: number
  } | null
}

export interface Tables {
  rows: { name: string; watched: boolean; changes: number | null; views: number; subscribers: number }[]
  problem: string | null
  figures: Record<string, number>
}

export interface RuleRow {
  section: string
  number: number
  pattern: string
  lines: string[]
  allowed: number
  denied: number
}

export interface LogLine {
  number: number
  at: number
  level: string
  part: string
  message: string
  facts: Record<string, unknown>
  node: string
}

export interface Finding {
  code: string
  sentence: string
}

export interface SettingLine {
  section: string
  number: number
  name: string
  line: string
}

export interface Explanation {
  verdict: string
  code: string
  findings: Finding[]
  setting: SettingLine | null
  nodes: string[]
}

export interface Access {
  topic: string
  rule: string
  right: { allowed: boolean; findings: Finding[]; setting: SettingLine | null }
}
