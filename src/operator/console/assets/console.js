// Pages work without this. It shows times in the reader's zone, asks whether the page has changed, copies, and knows keys.
// A refresh replaces the parts that are marked as live, and nothing that somebody has ticked, typed or is in.

const store = {
  get: (key) => { try { return localStorage.getItem(key) } catch { return null } },
  set: (key, value) => { try { localStorage.setItem(key, value) } catch { /* it is not remembered */ } },
}
const all = (selector, root = document) => [...root.querySelectorAll(selector)]

// Times
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone
const year = new Date().getFullYear()
const clock = (at) => new Intl.DateTimeFormat(undefined, {
  day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hour12: false,
  ...(at.getFullYear() === year ? {} : { year: 'numeric' }),
}).format(at)
function complete(root) {
  for (const time of all('time', root)) {
    const at = new Date(time.dateTime)
    time.title = `${at.toLocaleString()} ${zone}`
    time.querySelector('.clock').textContent = clock(at)
  }
  for (const one of all('[data-zone]', root)) one.textContent = `your time, ${zone}`
  for (const one of all('[data-script]', root)) one.hidden = false
  for (const link of all('a[data-member]', root)) link.after(' ', copyButton(link.textContent))
}
// A hundred of these would be a third of the page.
const icons = document.querySelector('link[rel=icon]')?.getAttribute('href')
function copyButton(text) {
  const button = document.createElement('button')
  Object.assign(button, { type: 'button', className: 'quiet copy', innerHTML: `<svg aria-hidden="true"><use href="${icons}#copy"/></svg>` })
  button.dataset.copy = text
  button.setAttribute('aria-label', `Copy ${text}`)
  return button
}

function notice(words, kind = '') {
  const box = document.getElementById('notices')
  if (!box || box.dataset.words === words) return
  box.dataset.words = words
  const line = document.createElement('p')
  line.className = `notice ${kind}`
  line.textContent = words
  box.replaceChildren(line)
}

// Ticks
const ticks = () => all('input[name=pick][type=checkbox]')
function count() {
  const ticked = ticks().filter((one) => one.checked).length
  for (const one of all('[data-ticked]')) one.textContent = ticked === 0 ? 'those ticked' : `${ticked} ticked`
  const every = document.querySelector('[data-all]')
  if (every) {
    every.checked = ticked > 0 && ticked === ticks().length
    every.indeterminate = ticked > 0 && !every.checked
  }
}
document.addEventListener('change', ({ target }) => {
  if (target.matches('[data-all]')) for (const one of ticks()) one.checked = target.checked
  if (target.matches('input[type=checkbox]')) count()
})

// Refresh
const isDirty = (field) => field.matches('textarea, input:not([type=hidden], [type=checkbox])') && field.value !== field.defaultValue
let tag = null
let quiet = 0
async function refresh() {
  const answer = await fetch(location.href, {
    headers: tag ? { 'If-None-Match': tag } : {}, cache: 'no-store', redirect: 'manual', credentials: 'same-origin',
  })
  if (answer.type === 'opaqueredirect') return notice('You are signed out. What you typed stays here: sign in again in another tab.', 'warn')
  if (answer.status === 304 || !answer.ok) return
  tag = answer.headers.get('ETag')
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
  document.body.dataset.refresh = page.body.dataset.refresh
  document.title = page.title
  complete(page)
  for (const fresh of all('[data-live]', page)) {
    const old = document.querySelector(`[data-live="${fresh.dataset.live}"]`)
    if (old) replace(old, fresh)
  }
  count()
}
function replace(old, fresh) {
  const kept = new Map(all('input[type=checkbox][data-id]', old).map((one) => [one.dataset.id, one.checked]))
  for (const one of all('input[type=checkbox][data-id]', fresh)) one.toggleAttribute('checked', false)
  for (const one of all('input[type=checkbox][data-id]', old)) one.toggleAttribute('checked', false)
  if (old.innerHTML === fresh.innerHTML) return
  const active = old.contains(document.activeElement) ? document.activeElement : null
  if (all('textarea, input', old).some(isDirty) || active?.matches('textarea, input:not([type=checkbox])')) {
    return notice('This has changed since you began to type. What you typed stays; a button tells you what changed.', 'warn')
  }
  const key = active && all('a, button, input, summary', old).indexOf(active)
  const before = new Map(all('tr.row', old).map((row) => [row.querySelector('a')?.href, row.textContent]))
  old.innerHTML = fresh.innerHTML
  for (const one of all('input[type=checkbox][data-id]', old)) one.checked = kept.get(one.dataset.id) ?? false
  for (const row of all('tr.row', old)) {
    const was = before.get(row.querySelector('a')?.href)
    if (was !== undefined && was !== row.textContent) row.classList.add('fresh')
  }
  if (active) {
    const same = active.dataset.id ? old.querySelector(`[data-id="${active.dataset.id}"]`) : active.href && all('a', old).find((one) => one.href === active.href)
    ;(same || all('a, button, input, summary', old)[key])?.focus({ preventScroll: true })
  }
}
const live = document.getElementById('live')
if (live) {
  live.checked = store.get('live') !== 'off'
  live.addEventListener('change', () => store.set('live', live.checked ? 'on' : 'off'))
}
const isGet = () => performance.getEntriesByType('navigation')[0]?.responseStatus === 200 && document.querySelector('[data-live]')
async function round() {
  const every = Number(document.body.dataset.refresh || 5) * 1000
  if (live?.checked && !document.hidden && isGet()) {
    try { await refresh(); quiet = 0 } catch { if (++quiet === 3) notice('The console does not answer. The page shows what was true before.', 'warn') }
  }
  setTimeout(round, every * Math.min(1 + quiet, 6))
}
document.addEventListener('visibilitychange', () => { if (!document.hidden && live?.checked && isGet()) refresh().catch(() => {}) })

// Copy, also on plain HTTP where the clipboard is not open to pages
async function copy(text) {
  try { return await navigator.clipboard.writeText(text) } catch { /* the old way */ }
  const field = document.createElement('textarea')
  field.value = text
  document.body.append(field)
  field.select()
  document.execCommand('copy')
  field.remove()
}
document.addEventListener('click', async ({ target }) => {
  const button = target.closest('[data-copy], [data-copy-all]')
  if (!button) return
  const lines = 'copyAll' in button.dataset ? all('td [data-copy]').map((one) => one.dataset.copy) : [button.dataset.copy]
  await copy(lines.join('\n'))
  notice(lines.length === 1 ? `Copied ${lines[0]}` : `Copied ${lines.length} addresses`, 'good')
  button.focus()
})

// Keys
const help = document.getElementById('help')
const letters = document.getElementById('letters')
if (letters) {
  letters.checked = store.get('letters') !== 'off'
  letters.addEventListener('change', () => store.set('letters', letters.checked ? 'on' : 'off'))
}
document.getElementById('keys')?.addEventListener('click', () => help.showModal())
function step(by) {
  const rows = all('tr.row')
  if (rows.length === 0) return document.querySelector(by > 0 ? '[rel=next]' : '[rel=prev]')?.click()
  const at = rows.findIndex((row) => row.contains(document.activeElement))
  const row = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1)]
  row?.querySelector('a')?.focus()
}
document.addEventListener('keydown', (event) => {
  const { target, key } = event
  if (!letters?.checked || event.ctrlKey || event.metaKey || event.altKey || help.open) return
  if (target.matches('textarea, select, input:not([type=checkbox])')) return
  const act = {
    '/': () => document.querySelector('[data-search]')?.focus(),
    '?': () => help.showModal(),
    j: () => step(1),
    k: () => step(-1),
    x: () => document.activeElement?.closest('tr.row')?.querySelector('input[name=pick]')?.click(),
    c: () => document.querySelector('[data-key=c]')?.click(),
    d: () => document.querySelector('[data-key=d]')?.click(),
  }[key]
  if (act) { event.preventDefault(); act() }
})

complete(document)
count()
// On a narrow screen the menu is longer than it is wide.
document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' })
setTimeout(round, Number(document.body.dataset.refresh || 5) * 1000)
