// A browser without a script: it keeps cookies, goes where it is sent, and fills in forms.
export class Browser {
  cookies = new Map()

  // One request. A redirect is not followed.
  async ask(url, options = {}) {
    const cookie = [...this.jar(url)].map(([name, value]) => `${name}=${value}`).join('; ')
    const answer = await fetch(url, { ...options, redirect: 'manual', headers: { ...options.headers, cookie } })
    for (const line of answer.headers.getSetCookie()) this.keep(url, line)
    const location = answer.headers.get('location')
    return { url, status: answer.status, text: await answer.text(), to: location && new URL(location, url).href }
  }

  // The page at which an address ends, or the first redirect that is to `until`.
  async go(url, until = () => false, options = {}) {
    let answer = await this.ask(url, options)
    for (let n = 0; answer.to && !until(answer.to); n++) {
      if (n === 20) throw new Error(`sent round and round: ${answer.to}`)
      answer = await this.ask(answer.to)
    }
    return answer
  }

  // Sends the form of a page, with these fields in addition to the hidden ones.
  submit(page, fields, until) {
    const action = /<form[^>]*action="([^"]+)"/.exec(page.text)?.[1]
    if (!action) throw new Error(`no form at ${page.url}: ${page.text}`)
    const hidden = [...page.text.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)]
    const body = new URLSearchParams([...hidden.map((one) => [one[1], one[2]]), ...Object.entries(fields)])
    return this.go(new URL(action, page.url).href, until, { method: 'POST', body })
  }

  jar(url) {
    const { host } = new URL(url)
    if (!this.cookies.has(host)) this.cookies.set(host, new Map())
    return this.cookies.get(host)
  }

  keep(url, line) {
    const [pair, ...attributes] = line.split('; ')
    const at = pair.indexOf('=')
    const isOver = attributes.some((one) => {
      const [name, value] = one.toLowerCase().split('=')
      return name === 'max-age' ? Number(value) <= 0 : name === 'expires' && Date.parse(one.slice(8)) <= Date.now()
    })
    if (isOver) this.jar(url).delete(pair.slice(0, at))
    else this.jar(url).set(pair.slice(0, at), pair.slice(at + 1))
  }

  forget(url) {
    this.jar(url).clear()
  }
}
