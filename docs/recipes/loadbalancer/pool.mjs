// Keeps a pool of the instances that may get traffic: node pool.mjs http://127.0.0.1:7700 checkout [COMMAND ...]
// Needs Node.js 18 or later and nothing else. Prints the pool whenever it changes, and runs the command with the pool at
// its input, a line "id address port weight" for each instance with a port named http, or with only one port.
import { spawn } from 'node:child_process'

const [url, service, ...command] = process.argv.slice(2)
const silence = 30_000 // the registry sends something every 15 s: a stream that is silent for longer is dead
const pool = new Map()
let last = ''

function take({ id, event, data }) {
  const said = JSON.parse(data)
  if (event === 'cut') return // the stream ends; it is resumed
  if (event === 'panic') return // a reset follows
  if (event !== 'change') { // snapshot or reset: all of it
    pool.clear()
    for (const i of said.instances) pool.set(i.id, i)
  } else if (said.op === 'put') pool.set(said.id, said.instance)
  else pool.delete(said.id)
  last = id
  const sorted = [...pool.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  console.log('pool: ' + sorted.map((i) => [i.id, i.address, ...ports(i).map((p) => p.join('=')), `weight=${i.weight}`].join(' ') + ',').join(''))
  drive(sorted.map(member).join(''))
}

const ports = (i) => Object.entries(i.ports ?? {}).sort()

function member(i) {
  const port = i.ports?.http ?? (ports(i).length === 1 ? ports(i)[0][1] : undefined)
  return port === undefined ? '' : `${i.id} ${i.address} ${port} ${i.weight}\n`
}

// drive runs the command for the newest pool, one run at a time.
let running = false
let newest
function drive(members) {
  newest = members
  if (running || command.length === 0) return
  running = true
  const child = spawn(command[0], command.slice(1), { stdio: ['pipe', 'inherit', 'inherit'] })
  child.stdin.on('error', () => {}) // it may not read all
  child.stdin.end(members)
  const done = (problem) => {
    if (problem) console.error(`${command[0]} failed: ${problem}`)
    running = false
    if (newest !== members) drive(newest)
  }
  child.once('error', done)
  child.once('exit', done)
}

async function follow() {
  const dead = new AbortController()
  const alarm = setTimeout(() => dead.abort(new Error(`nothing came for ${silence / 1000} s`)), silence)
  try {
    const headers = last ? { 'Last-Event-ID': last } : {}
    const reply = await fetch(`${url}/v1/streams/services/${service}?ready=true`, { headers, signal: dead.signal })
    if (!reply.ok) {
      // 410, 422: the registry does not know the position, after a restore: begin anew. Anything else: try again.
      if (reply.status === 410 || reply.status === 422) last = ''
      throw new Error(await reply.text())
    }
    let text = ''
    for await (const chunk of reply.body.pipeThrough(new TextDecoderStream())) {
      alarm.refresh()
      const blocks = (text + chunk).split('\n\n')
      text = blocks.pop() // may go on in the next chunk
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split('\n').map((l) => [l.slice(0, l.indexOf(': ')), l.slice(l.indexOf(': ') + 2)]))
        if (fields.data) take(fields)
      }
    }
  } finally {
    clearTimeout(alarm)
  }
}

for (;;) {
  await follow().catch((error) => console.error(String(error)))
  await new Promise((done) => setTimeout(done, 200)) // the server is away: go on where we were
}
