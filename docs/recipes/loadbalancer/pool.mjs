// Keeps a pool of the instances that may get traffic: node pool.mjs http://127.0.0.1:7700 checkout
// Needs Node.js 18 or later and nothing else. Prints the pool whenever it changes.
const [url, service] = process.argv.slice(2)
const pool = new Map()
let last = ''

function take({ id, event, data }) {
  const said = JSON.parse(data)
  if (event === 'cut') return // the stream ends; it is resumed
  if (event !== 'change') { // snapshot or reset: all of it
    pool.clear()
    for (const i of said.instances) pool.set(i.id, i.address)
  } else if (said.op === 'put') pool.set(said.id, said.instance.address)
  else pool.delete(said.id)
  last = id
  console.log('pool: ' + [...pool].sort().map((e) => e.join(' ') + ',').join(''))
}

async function follow() {
  const headers = last ? { 'Last-Event-ID': last } : {}
  const reply = await fetch(`${url}/v1/streams/services/${service}?ready=true`, { headers })
  if (!reply.ok) {
    // 410, 422: the registry does not know the position, after a restore: begin anew. Anything else: try again.
    if (reply.status === 410 || reply.status === 422) last = ''
    throw new Error(await reply.text())
  }
  let text = ''
  for await (const chunk of reply.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (text + chunk).split('\n\n')
    text = blocks.pop() // may go on in the next chunk
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split('\n').map((l) => [l.slice(0, l.indexOf(': ')), l.slice(l.indexOf(': ') + 2)]))
      if (fields.data) take(fields)
    }
  }
}

for (;;) {
  await follow().catch((error) => console.error(String(error)))
  await new Promise((done) => setTimeout(done, 200)) // the server is away: go on where we were
}
