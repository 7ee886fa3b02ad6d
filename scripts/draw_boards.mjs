/**
 * Draws the boards of deploy/grafana without Grafana: `node scripts/draw_boards.mjs PROMETHEUS DIRECTORY [SECONDS]`.
 *
 * Asks Prometheus each panel's queries for the last SECONDS (an hour by default) and writes a picture of each board to
 * DIRECTORY: every panel at its place, with title, units, limits, axes and legend as the board's JSON has them. It
 * draws with uPlot, as Grafana's time series do, but it is not Grafana: colours, fonts and details differ.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { chromium } from '@playwright/test'

const BOARDS = join(import.meta.dirname, '../deploy/grafana')
const WIDTH = 1500
const POINTS = 240
/** The grid of a board: 24 columns, rows of 30 px, gaps of 8 px. */
const ROW = 30
const GAP = 8

const [prometheus, directory, seconds = '3600'] = process.argv.slice(2)
if (!prometheus || !directory) {
  console.error('usage: node scripts/draw_boards.mjs PROMETHEUS DIRECTORY [SECONDS]')
  process.exit(2)
}
const until = Math.floor(Date.now() / 1000)
const step = Math.max(1, Math.round(Number(seconds) / POINTS))
const from = until - Number(seconds)

/** The series of a query, each with its labels and its values by time. */
async function series(expression) {
  const query = expression.replaceAll('$__rate_interval', `${Math.max(4 * step, 15)}s`)
  const parameters = new URLSearchParams({ query, start: from, end: until, step })
  const answer = await (await fetch(`${prometheus}/api/v1/query_range?${parameters}`)).json()
  if (answer.status !== 'success') throw new Error(`${query}: ${answer.error}`)
  return answer.data.result
}

/** A panel's times and lines: each line has a name, its unit, and a value or null at each time. */
async function filled(panel) {
  const times = Array.from(
    { length: Math.floor((until - from) / step) + 1 },
    (_, index) => from + index * step,
  )
  const lines = []
  for (const { expr, legendFormat, refId } of panel.targets) {
    for (const { metric, values } of await series(expr)) {
      const found = new Map(values.map(([at, value]) => [at, Number(value)]))
      const name = legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? '')
      const data = times.map((at) => (Number.isFinite(found.get(at)) ? found.get(at) : null))
      lines.push({ name, data, ...styleOf(panel, name, refId) })
    }
  }
  return { ...panel, times, lines }
}

/** The unit of a line and the side of its axis, by the panel's defaults and the overrides that match it. */
function styleOf({ fieldConfig }, name, refId) {
  const style = { unit: fieldConfig.defaults.unit, right: false }
  for (const { matcher, properties } of fieldConfig.overrides) {
    const matches =
      matcher.id === 'byRegexp'
        ? new RegExp(matcher.options.slice(1, -1)).test(name)
        : { byName: name, byFrameRefID: refId }[matcher.id] === matcher.options
    for (const { id, value } of matches ? properties : []) {
      if (id === 'unit') style.unit = value
      if (id === 'custom.axisPlacement') style.right = value === 'right'
    }
  }
  return style
}

/** Runs in the page: lays the panels out, and draws each. */
function draw({ title, panels, width, row, gap }) {
  const colours =
    '#73bf69 #f2cc0c #8ab8ff #ff780a #f2495c #5794f2 #b877d9 #96d98d #ffb357 #705da0 #37872d #fade2a'.split(
      ' ',
    )
  const scaled = (value, steps, base) => {
    const place = value
      ? Math.min(steps.length - 1, Math.max(0, Math.floor(Math.log(Math.abs(value)) / Math.log(base))))
      : 0
    const shown = value / base ** place
    return `${Number(shown.toPrecision(3))}${steps[place]}`
  }
  const units = {
    short: (value) => scaled(value, ['', ' K', ' Mil', ' Bil'], 1000),
    cps: (value) => `${scaled(value, ['', 'K', 'M'], 1000)} c/s`,
    Bps: (value) => scaled(value, [' B/s', ' kB/s', ' MB/s', ' GB/s'], 1000),
    bytes: (value) => scaled(value, [' B', ' KiB', ' MiB', ' GiB'], 1024),
    percentunit: (value) => `${Number((value * 100).toPrecision(3))}%`,
    s: (value) => {
      if (Math.abs(value) >= 1 || value === 0) return `${Number(value.toPrecision(3))} s`
      return Math.abs(value) >= 1e-3
        ? `${Number((value * 1e3).toPrecision(3))} ms`
        : `${Number((value * 1e6).toPrecision(3))} µs`
    },
  }
  document.querySelector('h1').textContent = title
  const column = (width - 2 * gap) / 24
  for (const panel of panels) {
    const { x, y, w, h } = panel.gridPos
    const box = document.createElement('section')
    box.style.cssText = `left:${gap + x * column}px;top:${y * (row + gap)}px;width:${w * column - gap}px;height:${h * (row + gap) - gap}px`
    box.innerHTML = '<h2></h2><div class="plot"></div><ul></ul>'
    box.querySelector('h2').textContent = panel.title
    document.querySelector('main').append(box)
    const legend = box.querySelector('ul')
    panel.lines.forEach(({ name, right }, index) => {
      const entry = document.createElement('li')
      entry.innerHTML = `<i style="background:${colours[index % colours.length]}"></i>`
      entry.append(right ? `${name} (right)` : name)
      legend.append(entry)
    })
    if (!panel.lines.length) {
      box.querySelector('.plot').textContent = 'No data'
      continue
    }
    const unit = (right) => {
      const line = panel.lines.find((each) => each.right === right)
      if (line && !units[line.unit])
        throw new Error(`${panel.title}: ${line.unit} is not a unit that this script knows`)
      return line?.unit
    }
    const limits = panel.fieldConfig.defaults
    const range = (_, low, high) => {
      const bottom = limits.min ?? low
      return [bottom, limits.max ?? (high > bottom ? bottom + (high - bottom) * 1.1 : bottom + 1)]
    }
    const style = {
      stroke: '#ccccdc',
      grid: { stroke: '#2c3035', width: 1 },
      ticks: { show: false },
      font: '11px sans-serif',
    }
    const axes = [{ ...style, space: 55, size: 28, values: '{HH}:{mm}:{ss}' }]
    const scales = { x: { time: true }, left: { range }, right: { range } }
    for (const right of [false, true]) {
      const name = unit(right)
      if (!name) continue
      const values = (_, ticks) => ticks.map((tick) => units[name](tick))
      const incrs = name === 'bytes' && { incrs: Array.from({ length: 50 }, (_, power) => 2 ** power) }
      axes.push({
        ...style,
        scale: right ? 'right' : 'left',
        side: right ? 1 : 3,
        size: 70,
        space: 36,
        values,
        ...incrs,
        ...(right && { grid: { show: false } }),
      })
    }
    const plot = box.querySelector('.plot')
    new uPlot(
      {
        width: plot.clientWidth,
        height: plot.clientHeight,
        legend: { show: false },
        cursor: { show: false },
        scales,
        axes,
        series: [
          {},
          ...panel.lines.map(({ name, right }, index) => ({
            label: name,
            scale: right ? 'right' : 'left',
            stroke: colours[index % colours.length],
            width: 1.5,
            points: { show: false },
          })),
        ],
      },
      [panel.times, ...panel.lines.map(({ data }) => data)],
      plot,
    )
  }
}

const STYLE = `
  body { margin: 0; background: #111217; color: #ccccdc; font-family: sans-serif }
  h1 { font-size: 18px; font-weight: 500; margin: 14px ${GAP}px }
  main { position: relative }
  section { position: absolute; display: flex; flex-direction: column; background: #181b1f; border: 1px solid #25272b; box-sizing: border-box; padding: 4px 8px 6px }
  h2 { font-size: 14px; font-weight: 500; margin: 4px 0 6px }
  .plot { flex: 1; min-height: 0; overflow: hidden; display: grid; place-items: center; color: #8e8e9b }
  ul { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 4px 0 0; padding: 0; list-style: none; font-size: 12px }
  i { display: inline-block; width: 14px; height: 4px; border-radius: 2px; margin-right: 5px; vertical-align: middle }`

const uplot = dirname(createRequire(import.meta.url).resolve('uplot'))
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
})
try {
  for (const file of readdirSync(BOARDS).filter((name) => name.endsWith('.json'))) {
    const board = JSON.parse(readFileSync(join(BOARDS, file), 'utf8'))
    const panels = []
    for (const panel of board.panels) panels.push(await filled(panel))
    const rows = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h))
    const page = await browser.newPage({ viewport: { width: WIDTH, height: 60 + rows * (ROW + GAP) } })
    await page.setContent(`<!doctype html><style>${STYLE}</style><h1></h1><main></main>`)
    await page.addStyleTag({ path: join(uplot, 'uPlot.min.css') })
    await page.addScriptTag({ path: join(uplot, 'uPlot.iife.min.js') })
    await page.evaluate(draw, { title: board.title, panels, width: WIDTH, row: ROW, gap: GAP })
    const picture = join(directory, `${basename(file, '.json')}.png`)
    await page.screenshot({ path: picture })
    const empty = panels.filter(({ lines }) => !lines.length).map(({ title }) => title)
    console.log(`${picture}: ${panels.length} panels, without data: ${empty.join(', ') || 'none'}`)
  }
} finally {
  await browser.close()
}
