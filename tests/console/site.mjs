// The programs around the browser: the command line, the simulated backend, and pages with their checks.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import AxeBuilder from '@axe-core/playwright'
import { chromium } from 'playwright-core'

export const [program, url, backend, into] = process.argv.slice(2)
for (const folder of ['shots', 'readme']) mkdirSync(join(into, folder), { recursive: true })

export function run(...words) {
  return execFileSync(program, words, { encoding: 'utf8' }).trim()
}

/** Waits until something holds; names what did not. */
export async function until(what, holds, seconds = 90) {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const value = await holds()
    if (value) return value
    if (Date.now() > end) throw new Error(`after ${seconds} s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

export function assert(holds, what) {
  if (!holds) throw new Error(what)
}

/** Failed removals of people whom nothing else is about, which only a person can finish. */
export function report(workspace, integration, from, to, source) {
  const lines = []
  for (let n = from; n < to; n++) {
    const id = `bystander-${String(n).padStart(2, '0')}`
    lines.push(JSON.stringify({
      workspace_id: workspace, source_id: `${source}-${id}`, job_id: `${source}-job`, integration_id: integration.id,
      integration_kind: integration.kind, integration_name: integration.name, application: integration.application,
      member_id: id, member_email: `${id}@${workspace}.example.com`, operation: 'remove', trigger: 'workspace_policy',
      requested_at: new Date().toISOString(), failure_code: 'PhoneNotManagedError',
      failure_message: 'The app asked for a code from a phone.', can_retry: false, user_required: true,
    }))
  }
  const file = join(into, `${source}.jsonl`)
  writeFileSync(file, lines.join('\n') + '\n')
  run('import', file)
}

/** What a person does in the app. */
export async function inApp(workspace, integration, member, change) {
  const path = `/simulator/${workspace}/integrations/${integration}/members/${member}/${change}`
  const answer = await fetch(backend + path, { method: 'POST' })
  assert(answer.ok, `${path}: ${answer.status} ${await answer.text()}`)
}

export async function mendLogin(workspace, integration) {
  const answer = await fetch(`${backend}/simulator/${workspace}/integrations/${integration}/mend-login`, { method: 'POST' })
  assert(answer.ok, `mend-login: ${answer.status}`)
}

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
assert(executablePath, 'Chromium is not installed')
export const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})

/** A window whose errors, foreign requests and blocked parts are failures. */
export async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, timezoneId: 'Europe/Berlin', locale: 'en-GB', ...options })
  const page = await context.newPage()
  page.on('pageerror', (error) => { throw error })
  page.on('request', (request) => assert(request.url().startsWith(url) || request.url().startsWith('data:'), `a foreign request: ${request.url()}`))
  page.on('console', (line) => {
    const isExpected = /status of (4\d\d)/.test(line.text())
    if (line.type() === 'error' && !isExpected) throw new Error(`console: ${line.text()}`)
  })
  return page
}

export async function signIn(page, token, to) {
  await page.goto(url + to)
  assert(page.url().includes('/sign-in?to='), 'nobody is signed in')
  await page.fill('#token', token)
  await page.click('button.main')
  await page.waitForURL((now) => now.pathname + now.search === to)
}

export async function form(page, selector) {
  await Promise.all([page.waitForNavigation(), page.click(selector)])
}

/** What axe calls serious. */
async function axe(page, name) {
  const { violations } = await new AxeBuilder({ page }).analyze()
  const serious = violations.filter((one) => ['serious', 'critical'].includes(one.impact))
  return serious.map((one) => `${name}: ${one.id}: ${one.nodes.map((node) => `${node.target} ${node.failureSummary}`).join('; ')}`)
}

/** Whether a page has to be scrolled sideways. */
async function width(page, name) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  return wide > 0 ? [`${name}: it is ${wide} px too wide`] : []
}

/** A page in both themes and in its widths; returns what disturbs. */
export async function shoot(page, name) {
  const found = []
  for (const [wide, high, colorScheme] of [[1440, 900, 'light'], [1440, 900, 'dark'], [390, 844, 'dark'], [390, 844, 'light']]) {
    await page.setViewportSize({ width: wide, height: high })
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await page.screenshot({ path: join(into, 'shots', `${name}-${wide}-${colorScheme}.png`), fullPage: wide === 390 })
    found.push(...await width(page, `${name} ${wide}`))
    if (wide === 1440 || colorScheme === 'light') found.push(...await axe(page, `${name} ${wide} ${colorScheme}`))
  }
  await page.setViewportSize({ width: 360, height: 800 })
  found.push(...await width(page, `${name} 360`))
  await page.emulateMedia({ colorScheme: 'light', forcedColors: 'active' })
  await page.screenshot({ path: join(into, 'shots', `${name}-360-forced.png`) })
  await page.emulateMedia({ colorScheme: 'light', forcedColors: 'none', reducedMotion: 'no-preference' })
  await page.setViewportSize({ width: 1440, height: 900 })
  return found
}

/** A picture for the documents. */
export async function picture(page, name) {
  await page.setViewportSize({ width: 1080, height: 620 })
  await page.evaluate(() => scrollTo(0, 0))
  await page.screenshot({ path: join(into, 'readme', `${name}.png`) })
  await page.setViewportSize({ width: 1440, height: 900 })
}
