// People sign in by a real issuer, go on, lose a role, and meet new keys and answers that do not count.
import { strict as assert } from 'node:assert'
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { Provider } from 'oidc-provider'
import { Browser } from './browser.mjs'

const [issuer, console_, log] = process.argv.slice(2)
const people = { kim: { email: 'kim@example.com', groups: ['desk'], workspaces: ['acme'] } }
const step = (words) => console.log(words)
async function until(words, holds) {
  for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((on) => setTimeout(on, 100))) if (await holds()) return
  throw new Error(`it did not happen within 30 s that ${words}`)
}

// The issuer: with a new key, and with this algorithm, each time it is made. Its sessions stay.
function key(alg) {
  const { privateKey } = alg === 'RS256' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg }
}
function made(alg) {
  // A provider signs what it keeps to itself with RS256, so it needs such a key in any case.
  const keys = alg === 'RS256' ? [key('RS256')] : [key(alg), key('RS256')]
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'console', client_secret: 'only-for-this-test', redirect_uris: [`${console_}/sign-in/callback`],
      response_types: ['code'], grant_types: ['authorization_code'], id_token_signed_response_alg: alg,
    }],
    claims: { openid: ['sub'], email: ['email'], groups: ['groups', 'workspaces'] },
    scopes: ['openid', 'email', 'groups'],
    conformIdTokenClaims: false,
    cookies: { keys: ['only-for-this-test'] },
    features: { devInteractions: { enabled: true } },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
    jwks: { keys },
  })
  return provider.callback()
}
let answer = null
createServer((request, response) => answer(request, response)).listen(Number(new URL(issuer).port), '127.0.0.1')
answer = (_, response) => response.writeHead(500).end()

const isCallback = (to) => to.startsWith(`${console_}/sign-in/callback`)
const lines = (event) => readFileSync(log, 'utf8').split('\n').filter((line) => line.includes(`"${event}"`)).map((line) => JSON.parse(line))

// Signs in at the issuer; returns where it sends the browser back to.
async function atIssuer(browser, link, name = 'kim') {
  let page = await browser.go(`${console_}/sign-in/issuer?to=${encodeURIComponent(link)}`, isCallback)
  for (const fields of [{ login: name, password: 'any' }, {}]) if (!page.to) page = await browser.submit(page, fields, isCallback)
  assert.ok(page.to, page.text)
  return page.to
}
async function signIn(browser, link) {
  const back = await browser.ask(await atIssuer(browser, link))
  assert.equal(back.status, 303, back.text)
  return back.to
}

step('1. The issuer is down when the daemon starts: sign-in says so, and works once it answers')
await until('the console answers', () => fetch(`${console_}/sign-in`).then((one) => one.ok, () => false))
const kim = new Browser()
const asked = await kim.ask(`${console_}/sign-in/issuer?to=%2F`)
assert.equal(asked.status, 503)
assert.match(asked.text, /does not answer/)
answer = made('RS256')
await until('it works', async () => (await kim.ask(`${console_}/sign-in/issuer?to=%2F`)).status === 303)
assert.equal(lines('issuer.unavailable').length, 1)

step('2. She comes back to the link, in her role and under her email')
assert.equal(await signIn(kim, '/actions?status=open'), `${console_}/actions?status=open`)
const page = await kim.ask(`${console_}/actions?status=open`)
assert.equal(page.status, 200)
assert.match(page.text, /kim@example\.com<\/b> <small>operator/)

step('3. The session is over, and goes on without a page while the issuer knows her')
const isOver = async () => (await kim.ask(`${console_}/tasks`)).status === 303
await until('the session is over', isOver)
const renewed = await kim.go(`${console_}/tasks`)
assert.deepEqual([renewed.url, renewed.status], [`${console_}/tasks`, 200], renewed.text)

step('4. A role that was changed, and one that was taken away')
people.kim.groups = ['readers']
await until('the session is over', isOver)
assert.match((await kim.go(`${console_}/tasks`)).text, /<small>viewer/)
people.kim.groups = []
await until('the session is over', isOver)
const refused = await kim.go(`${console_}/tasks`)
assert.equal(refused.status, 403)
assert.match(refused.text, /gives you no role/)
people.kim.groups = ['desk']

step('5. The issuer has forgotten her: she sees the page on which people sign in')
await signIn(kim, '/')
kim.forget(issuer)
await until('the session is over', isOver)
const page5 = await kim.go(`${console_}/tasks`)
assert.match(page5.url, /\/sign-in\?to=%2Ftasks$/)
assert.match(page5.text, /Sign in with 127\.0\.0\.1/)

step('6. A form that came after the session is shown with its text, and sent after the sign-in')
const sent = () => kim.ask(`${console_}/actions/1/note`, {
  method: 'POST', headers: { origin: console_ }, body: new URLSearchParams({ revision: '1', note: 'half a <sentence>' }),
})
const shown = await sent()
assert.equal(shown.status, 401)
assert.match(shown.text, /Nothing was done/)
assert.match(shown.text, />half a &lt;sentence&gt;<\/textarea>/)
assert.equal(await signIn(kim, '/signed-in'), `${console_}/signed-in`)
assert.equal((await sent()).status, 404, 'it arrives: there is no such action')

step('7. New keys, and another algorithm, without a restart')
answer = made('ES256')
await signIn(new Browser(), '/')

step('8. Answers that do not count')
for (const change of [
  (to) => to.replace('code=', 'code=x'),
  (to) => to.replace('state=', 'state=0'),
  (to) => to.replace(/iss=[^&]*/, 'iss=https%3A%2F%2Fother.example'),
  (to) => to.replace(/code=[^&]*/, 'error=access_denied'),
]) {
  const other = new Browser()
  const back = change(await atIssuer(other, '/'))
  assert.equal((await other.ask(back)).status, 403, back)
}
const lee = new Browser()
const back = await atIssuer(lee, '/')
assert.equal((await new Browser().ask(back)).status, 403, 'in another browser')
const again = new Browser()
again.cookies = structuredClone(lee.cookies)
assert.equal((await lee.ask(back)).status, 303)
assert.equal((await again.ask(back)).status, 403, 'again')

step('9. The log has the reasons, and nothing of the answers')
const text = readFileSync(log, 'utf8')
assert.ok(lines('sign_in.refused').length >= 7)
for (const secret of ['only-for-this-test', 'kim@example.com', new URL(back).searchParams.get('code'), new URL(back).searchParams.get('state')]) {
  assert.ok(!text.includes(secret), `${secret} is in the log`)
}
step('People sign in by oidc-provider')
process.exit(0)
